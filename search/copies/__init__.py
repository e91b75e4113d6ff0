"""Process that writes one-way copies of a study's journal to Optuna's storage and MLflow."""
