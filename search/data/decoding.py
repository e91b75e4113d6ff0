"""What goes wrong while a set is decoded: counted, and said in one line per kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from search.data.errors import ImageError, UnreadableError, some, unreadable_lines
from search.printable import printable


class Faults:
    """Faults of images that were decoded; may be added from several threads.

    Args:
        shape: (H, W, 3) that every image must have.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._unreadable: list[UnreadableError] = []
        self._sizes: list[tuple[str, tuple[int, ...]]] = []
        self.num_read = 0
        """Images that were looked at."""

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self._unreadable) + len(self._sizes)

    def add(self, error: UnreadableError) -> None:
        """Note an image that cannot be read."""
        self._unreadable.append(error)

    def add_size(self, name: str, shape: tuple[int, ...]) -> None:
        """Note an image of another shape, (H, W, 3)."""
        self._sizes.append((name, shape))

    def refuse(self) -> None:
        """Raise if there are any.

        Raises:
            ImageError: With one line per kind.
        """
        lines = unreadable_lines(self._unreadable)
        if self._sizes:
            lines.append(self._size_line())
        if lines:
            raise ImageError(*lines)

    def _size_line(self) -> str:
        first = _size(self._shape)
        if len(self._sizes) == 1:
            name, shape = self._sizes[0]
            found = f"got {_size(shape)} for {printable(name)} and {first} for the first image"
        else:
            sizes = Counter(shape for _, shape in self._sizes)
            of_size = {shape: name for name, shape in sorted(self._sizes, reverse=True)}
            # Several may be as frequent: then the order is that of their names, not of the threads.
            common = sorted(sizes, key=lambda shape: (-sizes[shape], of_size[shape]))
            examples = [f"{_size(shape)} ({sizes[shape]:,} images, {of_size[shape]})" for shape in common]
            found = (
                f"got {first} for the first image and other sizes for {len(self._sizes):,} of the {self.num_read:,} "
                f"read: {some(examples)}{' sizes' if len(examples) > 3 else ''}"
            )
        return f"data.image_size must be set where images differ in size, {found}; set it, such as to 32 or 64"


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]}"
