"""How one trial is trained. Torch; no Ray, no MLflow."""
