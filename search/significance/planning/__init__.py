"""How many repeats a difference takes."""
