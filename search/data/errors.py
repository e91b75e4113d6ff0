"""What can be wrong with a data set: one class per cause, one line per fault."""

from __future__ import annotations

from search.errors import InputError


class DataError(InputError):
    """The data set cannot be used as asked."""


class LayoutError(DataError):
    """The files are not where or how they should be."""


class ImageError(DataError):
    """Images cannot be decoded, or do not have the size asked for."""


class ClassMissingError(DataError):
    """A class has images on one side of a split only."""


class FetchError(DataError):
    """A data set could not be downloaded."""


class CacheError(DataError):
    """The cache of decoded images cannot be written."""
