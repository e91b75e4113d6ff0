"""Where a study lies: a folder, or an object store by URI with a working copy on the driver's machine."""
