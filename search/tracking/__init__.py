"""Everything that imports MLflow: the copy of the journal, the model registry, and reading runs."""
