"""Names of the files that a training keeps in its trial's folder until it ends; imports no torch, for the driver."""

FILE_NAME = "checkpoint.pt"
"""State at the end of the last epoch."""
MIDDLE_NAME = "checkpoint-middle.pt"
"""State within the next epoch, if the training was stopped there."""
DAMAGED_NAME = "checkpoint.damaged"
"""The most recent checkpoint that was damaged."""
CHECKPOINTS = (FILE_NAME, MIDDLE_NAME, DAMAGED_NAME)
