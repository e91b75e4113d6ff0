"""Predictions written as they are computed: lines of text, a CSV file, or one JSON document."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from search.errors import InputError
from search.export.accuracy import Tally
from search.export.images import Unread
from search.export.loading import load_export
from search.export.predict import NUM_SHOWN, Classified, Prediction, classify
from search.storage.disk import raising_storage_faults
from search.text.counted import counted
from search.text.printable import printable

Write = Callable[[str], None]
"""Receives a line of standard output."""


def write_predictions(
    folder: Path,
    paths: list[Path],
    *,
    to: Path | None,
    top: int | None,
    as_json: bool,
    trust_code: bool,
    write: Write,
) -> int:
    """Classify images and write the predictions; see `search.export.predict.predict` for the paths.

    Args:
        folder: An export folder.
        paths: The images.
        to: CSV file that receives the predictions; None prints them.
        top: Number of classes per image; None: one in text and CSV, three in JSON.
        as_json: Whether one JSON document is printed, at the end.
        trust_code: Whether the source of an own model may be run.
        write: Prints a line.

    Returns:
        Number of paths that could not be read. Each is a line on standard error, or an error of the JSON document.

    Raises:
        InputError: The export or a folder of classes is refused, or the CSV file is one of the images' lists.
        StorageFaultError: The CSV file cannot be written.
    """
    from search.data.images import EXTENSIONS

    if to is not None and to.suffix.lower() in EXTENSIONS:
        raise InputError(f"--csv {to}: expected a table to write, found the name of an image; choose another name")
    if to is not None and any(_is_same(to, path) for path in paths):
        raise InputError(f"--csv {to}: expected a file to write, found one of the lists to read; choose another name")
    loaded = load_export(folder, trust_code=trust_code)
    found = classify(loaded, paths, top=top or (NUM_SHOWN if as_json else 1))
    tally = Tally(loaded.classes)
    faults: list[Unread] = []
    num_read = 0
    with contextlib.ExitStack() as stack:
        row = stack.enter_context(_csv_file(to, top or 1, found)) if to else None
        spool = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) if as_json and not to else None
        for item in found.predictions:
            if isinstance(item, Unread):
                faults.append(item)
                if not as_json:
                    print(f"error: {printable(item.reason)}", file=sys.stderr)  # noqa: T201
                continue
            num_read += 1
            if item.true_label is not None:
                tally.add(item.true_label, item.label)
            if row:
                row(item)
            elif spool:
                spool.write(f"{',' if num_read > 1 else ''}\n  {json.dumps(dataclasses.asdict(item))}")
            else:
                write(_to_line(item))
        if spool:
            _write_document(spool, faults, tally, write)
    if to and as_json:
        document: dict[str, Any] = {"file": str(to), "num_predictions": num_read}
        write(json.dumps({**document, **_ends(faults, tally)}, indent=1))
    elif not as_json:
        for line in tally.to_lines():
            write(printable(line))
        if to:
            write(printable(f"file        {to}: {counted(num_read, 'prediction')}"))
    return len(faults)


def _to_line(item: Prediction) -> str:
    classes = ", ".join(f"{printable(label)} ({probability:.2f})" for label, probability in item.top)
    return f"{printable(item.path)}: {classes}"


def _ends(faults: list[Unread], tally: Tally) -> dict[str, Any]:
    return {"errors": [dataclasses.asdict(fault) for fault in faults], "accuracy": tally.to_dict()}


def _write_document(spool: IO[str], faults: list[Unread], tally: Tally, write: Write) -> None:
    """Print the document whose predictions are in a temporary file: they may be more than fit into memory."""
    write('{\n "predictions": [')
    spool.seek(0)
    for line in spool:
        if text := line.rstrip("\n"):
            write(text)
    write(f" ],{json.dumps(_ends(faults, tally), indent=1)[1:]}")


@contextlib.contextmanager
def _csv_file(path: Path, top: int, found: Classified) -> Iterator[Callable[[Prediction], None]]:
    """Write a CSV file that appears when the block ends; a device or pipe is written at once."""
    if path.is_dir():
        raise InputError(f"--csv {path}: expected a file, found a folder; name a file in it")
    is_file = path.is_file() or not path.exists()
    target = path.resolve() if is_file else path
    place = target.with_name(f".{target.name}.{secrets.token_hex(4)}") if is_file else target
    further = [name for at in range(2, top + 1) for name in (f"label_{at}", f"probability_{at}")]
    truth = ["true_label"] if found.has_classes else []
    with raising_storage_faults(path):
        try:
            # Names of files that are not UTF-8 keep their bytes.
            with place.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(["image", "label", "probability", *further, *truth])

                def write(item: Prediction) -> None:
                    cells = [cell for pair in item.top for cell in pair]
                    cells += [""] * (2 * top - len(cells))
                    writer.writerow([item.path, *cells, *([item.true_label or ""] if truth else [])])

                yield write
            if is_file:
                place.replace(target)
        finally:
            if is_file:
                place.unlink(missing_ok=True)


def _is_same(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except (OSError, ValueError):
        return False
