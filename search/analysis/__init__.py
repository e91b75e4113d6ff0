"""The same judgement on anybody's results: files and MLflow experiments read, checked, judged and told."""
