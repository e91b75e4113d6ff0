"""Training of one trial with torch; uses neither Ray nor MLflow."""
