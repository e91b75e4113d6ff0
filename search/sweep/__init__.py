"""The sweep: propose, train, stop early, resume."""
