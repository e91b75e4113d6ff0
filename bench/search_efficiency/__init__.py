"""Search methods compared on recorded learning curves, in simulated time.

`python -m bench.search_efficiency run METHOD` simulates one method and writes its runs beside the table;
`python -m bench.search_efficiency page` writes the page. `table` and `clock` need nothing but Python, so that a peer
can be run in an environment of its own.
"""
