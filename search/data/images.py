"""One image file -> one (H, W, 3) uint8 array."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from search.data.errors import ImageError
from search.disk import MENDS, in_words
from search.errors import StorageFaultError

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""What counts as an image file, in lower case; other files are counted and left alone."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read, whatever a file is called: Pillow would hand PostScript to an interpreter."""


def read_image(path: Path | str, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Decode an image file as torchvision's ImageFolder does: first frame, alpha dropped, no EXIF rotation.

    A transparent pixel has the colour that is stored in it, laid over neither black nor white; a photograph lies as its
    pixels do. So a model trained on the same files elsewhere sees the same pixels. 16-bit gray keeps its upper 8 bits.

    Args:
        path: The file.
        size: Height and width that it is squeezed into (bilinear, antialiased); None keeps its own size.

    Returns:
        RGB, (H, W, 3).

    Raises:
        StorageFaultError: The machine cannot read the file.
        ImageError: The file is missing, damaged, or has pixels that do not fit 8 bits without a choice of scale.
    """
    from PIL import Image

    try:
        # Read whole: Pillow's many small reads would fight for the interpreter lock between threads.
        with io.FileIO(path) as stream:
            content = stream.readall()
    except OSError as error:
        if error.errno in MENDS:
            raise StorageFaultError(in_words(error, path)) from error
        raise ImageError(f"{path}: not a readable image ({error.strerror}); replace or remove it") from error
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
            rgb = _to_rgb(image)
            if size is not None and rgb.size != size[::-1]:
                rgb = rgb.resize(size[::-1], Image.Resampling.BILINEAR)
            # What asarray() does, without the detour through a dictionary.
            return np.frombuffer(rgb.tobytes(), dtype=np.uint8).reshape(rgb.height, rgb.width, 3)
    # Pillow's decoders raise these and more for damaged files, SyntaxError among them.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = re.sub(r" file <_io\.BytesIO[^>]*>", "", words).replace(str(path), Path(path).name)
        raise ImageError(f"{path}: not a readable image ({reason}); replace or remove it") from error


def _to_rgb(image: Image) -> Image:
    if image.mode == "RGB":
        return image  # convert() would copy it
    from PIL import Image as Pillow

    if image.mode.startswith("I;16"):
        # convert() would clip at 255 instead of scaling.
        return Pillow.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        msg = f"its pixels have 32 bits (mode {image.mode}), save it with 8 bits per channel"
        raise ValueError(msg)
    if "transparency" in image.info and image.mode == "P":
        image = image.convert("RGBA")
    return image.convert("RGB")


def resize(pixels: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Squeeze an (H, W, 3) array into a square, as `read_image` does; None keeps it."""
    if size is None or pixels.shape[:2] == (size, size):
        return pixels
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def crop_middle(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Cut the middle out of an (H, W, 3) array, as it is done to score a streamed set."""
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]
