"""What is written down: the journal first, MLflow from it."""
