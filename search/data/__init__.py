"""Image data sets: sources, decoding into a cache per node, splits, batches and augmentation."""
