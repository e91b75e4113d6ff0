"""The process beside the driver: it writes the one-way copies of a study's journal, for Optuna's tools and MLflow."""
