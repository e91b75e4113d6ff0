"""Remarks on how the folders of a data set were interpreted."""

from __future__ import annotations

from collections.abc import Iterator

from search.data.errors import some
from search.data.listing import Listing
from search.text.counted import counted

USUAL = ((".", None), ("train", "test"), ("train", "val"), (".", "."))
"""Folders of the training and test part that need no remark; a table may divide one folder."""


def notes_on(listing: Listing, *, is_held_out: bool, is_asked_for: bool, fraction: float) -> Iterator[str]:
    """Yield one line per choice that the folder names leave open; nothing for plain train/ and test/.

    Args:
        listing: The images.
        is_held_out: Whether the test set is drawn from the training images.
        is_asked_for: Whether the settings request this.
        fraction: Fraction held out.
    """
    train = listing.folders.get("train", ".")
    if listing.table:
        yield f"classes: read from {listing.table}, not from the names of folders"
    if listing.val is not None:
        number = counted(len(listing.val.labels), "image")
        folder = listing.folders.get("val", ".")
        where = f"{folder}/" if folder != "." else f"rows of {listing.table}" if listing.table else "its own"
        yield (
            f"validation part: {where}, {number}, the same for every repeat; split is not used, and "
            "repeats differ only in their seeds"
        )
    if is_held_out and train != ".":
        why = "as requested" if is_asked_for else "as there is no test part"
        yield f"test part: {100 * fraction:.3g} % of the images of {train}/, held out, {why}"
    elif listing.test is not None and (train, listing.folders.get("test")) not in USUAL:
        yield f"training part: {train}/; test part: {listing.folders['test']}/"
    if listing.left_out:
        names = [f"{name}, {counted(number, 'image')}" for name, number in listing.left_out.items()]
        yield f"left out: {some(names)}"
    if listing.merged and not listing.table:
        names = [f"{name} of {number}" for name, number in listing.merged.items()]
        number = counted(len(listing.merged), "class folder")
        yield f"{number} with images in several subfolders, which are merged: {some(names)} folders"
