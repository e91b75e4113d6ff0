"""Search spaces: parameters, domains, conditions and presets. Plain Python, no torch."""
