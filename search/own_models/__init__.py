"""Own models: classifiers that a user's own function builds. Their source travels with every job and export."""
