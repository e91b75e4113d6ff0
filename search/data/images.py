"""Decode image files into uint8 arrays of shape (H, W, 3)."""

from __future__ import annotations

import functools
import io
import re
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.data.errors import ImageError, UnreadableError
from search.data.files import TooLargeError, read_regular, reason_of
from search.errors import StorageFaultError
from search.storage.disk import MENDS, describe_fault
from search.text.counted import counted
from search.text.printable import printable

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""Extensions of image files, in lower case; other files are counted and ignored."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are decoded, whatever the extension. PostScript is excluded, as Pillow would execute it."""


MAX_BYTES = 1 << 29
"""Size limit of an image file."""
MAX_PIXELS = 178_956_970
"""Limit of the pixels that an image declares; the same as Pillow's."""
DIM = 1 << 12
"""A 16-bit image with all values below this one uses at most 12 bits and would be nearly black."""
DIM_SET = 1 << 14
"""A set of 16-bit images with all values below this one uses at most 14 bits."""
REPLACE = ("replace or remove it", "replace or remove them")
SAVE_AGAIN = ("save it with 8 bits per channel", "save them with 8 bits per channel")
SCALE = ("scale its values to 16 bits, or save it with 8", "scale their values to 16 bits, or save them with 8")
SHRINK = ("save it smaller", "save them smaller")
PERMIT = ("fix its permissions", "fix their permissions")


def read_image(path: Path | str, size: tuple[int, int] | None, brightest: list[int] | None = None) -> NDArray[np.uint8]:
    """Decode an image file as torchvision's ImageFolder does: first frame, alpha dropped, no EXIF rotation.

    Transparent pixels keep their stored colour instead of being blended with a background. The upper 8 bits of 16-bit
    images are kept. A model that is trained on the same files with torchvision receives the same pixels.

    Args:
        path: The file.
        size: Height and width that the image is resized to (bilinear, antialiased); None keeps its size.
        brightest: Receives the highest value of a 16-bit image, so that `check_depth` can check the whole set; if None,
            an image that uses at most 12 of 16 bits is refused.

    Returns:
        RGB pixels, (H, W, 3).

    Raises:
        StorageFaultError: The file system failed.
        UnreadableError: The file is missing, damaged, not regular or too large, or its values do not map to 8 bits
            without a choice of scale.
    """
    Image = _pillow()

    try:
        # Read in one call: Pillow's many small reads contend for the interpreter lock between threads.
        content = read_regular(path, MAX_BYTES)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError  # Pillow checks this too, but not for every format
            deep = _is_deep(image)
            image.load()
            rgb, highest = _to_rgb(image, deep=deep)
            if highest is not None:
                _note_depth(highest, brightest)
            if size is not None and rgb.size != size[::-1]:
                rgb = rgb.resize(size[::-1], Image.Resampling.BILINEAR)
            # Equivalent to np.asarray(), but faster.
            return np.frombuffer(rgb.tobytes(), dtype=np.uint8).reshape(rgb.height, rgb.width, 3)
    except _Unfit as error:
        raise UnreadableError(str(path), error.reason, error.fix) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f"it declares more than the maximum of {MAX_PIXELS:,} pixels"
        raise UnreadableError(str(path), reason, SHRINK) from None
    except PermissionError as error:
        raise UnreadableError(str(path), reason_of(error), PERMIT) from None
    except MemoryError:
        raise UnreadableError(str(path), "it does not fit into memory", SHRINK) from None
    # Pillow raises these and other errors for damaged files, even SyntaxError.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        if isinstance(error, OSError) and error.errno in MENDS:
            raise StorageFaultError(describe_fault(error, path)) from error
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = re.sub(r" file <_io\.BytesIO[^>]*>", "", words).replace(str(path), Path(path).name)
        fix = SHRINK if isinstance(error, TooLargeError) else REPLACE
        raise UnreadableError(str(path), printable(reason), fix) from error


@functools.cache
def _pillow() -> Any:  # noqa: ANN401  a module
    from PIL import Image

    # Between half of its limit and the limit, Pillow would print a warning per image.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    return Image


class _Unfit(Exception):
    """The image is intact, but its values do not map to 8 bits without a choice of scale."""

    def __init__(self, reason: str, fix: tuple[str, str]) -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


def _is_deep(image: Image) -> bool:
    """Return whether an image that is not loaded yet stores 16 bits per channel."""
    tiles: list[Any] = getattr(image, "tile", [])
    if image.format == "PPM":
        return any(isinstance(item, int) and item > 255 for tile in tiles for item in _args(tile))
    return any(";16" in str(item) for tile in tiles for item in _args(tile))


def _args(tile: Any) -> tuple[Any, ...]:  # noqa: ANN401  Pillow's own, of any shape
    return tile[3] if isinstance(tile[3], tuple) else (tile[3],)


def _to_rgb(image: Image, *, deep: bool) -> tuple[Image, int | None]:
    """Convert an image to RGB; also return the highest value of a 16-bit image, else None."""
    if image.mode == "RGB" and not deep:
        return image, None  # convert() would copy the image
    from PIL import Image as Pillow

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # convert() would clip at 255 instead of scaling.
        values = np.asarray(image).astype(np.uint16)
        gray = Pillow.fromarray((values >> 8).astype(np.uint8))
        return gray.convert("RGB"), int(values.max(initial=0))
    if image.mode in {"I", "F"}:
        kind = "whole numbers of 32 bits, or with a sign" if image.mode == "I" else "floating-point numbers"
        raise _Unfit(f"its pixels are {kind}, whose range is unknown", SAVE_AGAIN)
    if "transparency" in image.info and image.mode == "P":
        image = image.convert("RGBA")
    rgb = image.convert("RGB")
    if not deep:
        return rgb, None
    highest = int(max(high for _, high in rgb.getextrema()))  # type: ignore[misc]
    # Pillow has kept the upper 8 bits of each channel; for PPM it has rounded.
    return rgb, max(0, 257 * highest - 129) if image.format == "PPM" else 256 * highest + 255


def _note_depth(highest: int, brightest: list[int] | None) -> None:
    if brightest is not None:
        brightest.append(highest)
    elif 0 < highest < DIM:
        raise _Unfit(
            f"it has 16 bits per channel and no value above {highest:,} of 65,535, so that it would be nearly black",
            SCALE,
        )


def check_depth(brightest: Sequence[int]) -> None:
    """Check that a set of 16-bit images uses the full range, as its upper 8 bits would be (nearly) black otherwise.

    Cameras and scanners store 10, 12 or 14 bits in 16 bits without scaling. A single dark image among brighter ones is
    accepted.

    Args:
        brightest: Highest value of each 16-bit image of the set.

    Raises:
        ImageError: All images use at most 14 bits, or more than half use at most 12 bits.
    """
    if not brightest or max(brightest) == 0:
        return
    num_dim = sum(value < DIM for value in brightest)
    if max(brightest) < DIM_SET:
        most = max(brightest)
        raise ImageError(
            f"data: all 16-bit images ({len(brightest):,}) have no value above {most:,} of 65,535, so they use "
            f"{counted(most.bit_length(), 'bit')} and would be nearly black: scale their values to 16 bits, or save "
            "them with 8"
        )
    if num_dim > len(brightest) / 2:
        raise ImageError(
            f"data: {num_dim:,} of {len(brightest):,} 16-bit images have no value above {DIM - 1:,} of 65,535, so "
            "they use 12 bits or fewer and would be nearly black: scale their values to 16 bits, or save them with 8"
        )


def resize(pixels: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Resize an (H, W, 3) array to a square as `read_image` does; None keeps its size."""
    if size is None or pixels.shape[:2] == (size, size):
        return pixels
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def crop_middle(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the central crop of an (H, W, 3) array, as used to evaluate a streamed set."""
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]
