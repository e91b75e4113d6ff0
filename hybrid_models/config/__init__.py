"""Model configurations: validation, shapes and parameter counts. Imports no torch."""
