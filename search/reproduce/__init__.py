"""A paper's tables again: its cells trained as repeats over shared blocks, ours beside theirs."""
