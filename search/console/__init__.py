"""Output of commands: progress, messages and result tables."""
