"""What a model is, as plain values: settings, rules, shapes, counts. Imports no torch."""
