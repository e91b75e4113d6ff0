"""Images: where they come from, how they are decoded once per node, split, batched and augmented."""
