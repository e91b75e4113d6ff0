"""What may vary: parameters, conditions, presets. Plain Python, no torch."""
