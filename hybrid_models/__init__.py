"""What is trained: classifiers that mix convolution with recurrence. Needs torch only."""
