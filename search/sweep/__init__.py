"""The sweep: propose, train and stop trials, and resume them after an interruption."""
