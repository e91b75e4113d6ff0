"""Text of any origin: checked, explained, escaped."""
