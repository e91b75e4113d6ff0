"""Judge results from any source: read files and MLflow experiments, check them, and test the declared comparisons."""
