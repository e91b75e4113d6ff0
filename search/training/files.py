"""What a training keeps in its trial's folder until the trial has ended. No torch here: the driver knows these, too."""

FILE_NAME = "checkpoint.pt"
"""The end of the last epoch."""
MIDDLE_NAME = "checkpoint-middle.pt"
"""The middle of the next one, if the training was closed there."""
DAMAGED_NAME = "checkpoint.damaged"
"""A checkpoint that could not be read; the newest one."""
CHECKPOINTS = (FILE_NAME, MIDDLE_NAME, DAMAGED_NAME)
