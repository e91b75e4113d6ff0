"""Pick the winner, write its folder, verify it, and predict with it."""
