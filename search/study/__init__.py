"""The study file: its schema, how it is read, and what follows from it for one training."""
