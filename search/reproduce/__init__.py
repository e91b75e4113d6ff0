"""Reproductions: train the configurations of a paper's tables as paired repeats, and compare with the printed numbers.

A *cell* is one configuration of a table. In the output, "theirs" is the paper's result and "ours" the reproduced one.
"""
