"""The study file: schema, validation, and the trials that result from it."""
