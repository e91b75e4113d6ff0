"""The journal, the only memory of a study, and what is read from it."""
