"""Storage of studies: a folder, or an object store with a working copy on the driver's machine."""
