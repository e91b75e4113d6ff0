"""Image classifiers that combine convolution and recurrence. Depends on torch only."""
