"""Read per-image correctness or scores from a NumPy archive, the format for large results.

Shapes: C configurations, R blocks, M images.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from search.analysis.bounds import MAX_CONFIGS, MAX_SCORES, check_bytes, size
from search.analysis.cells import scores_of
from search.analysis.columns import shown
from search.analysis.faults import NUM_SHOWN, AnalysisError, Faults, closest, some
from search.analysis.notes import alike_in_all_blocks, without_result
from search.analysis.read_options import DETECTED, ReadOptions
from search.analysis.reading import Reading
from search.analysis.table import Column, NamedRows, Table
from search.significance.results import Results

NAMES = ("configs", "blocks")
VALUES = ("correct", "scores")
"""An archive holds one of these."""
OPTIONAL = ("images", "dataset", "failed")
KNOWN = (*VALUES, *NAMES, *OPTIONAL)


def read_npz(path: Path, asked: ReadOptions = DETECTED, *, tell: Callable[[str], None] = lambda _: None) -> Reading:
    """Read an archive of correctness or scores, with `configs` (C,) and `blocks` (R,).

    `correct` (C, R, M) holds 0 and 1 in any numeric type; a repeat without a result is NaN or -1 in all of its images.
    `scores` (C, R) holds one score per repeat, NaN where there is none. Optional arrays: `images` (M,), their names;
    `dataset`, a name; `failed` (C, R), 1 where the training diverged.

    Args:
        path: The file.
        asked: Direction and unit of the scores.
        tell: Receives one line on how the archive was read.

    Returns:
        The results with notes for the reader.

    Raises:
        AnalysisError: The file is not such an archive, or is too large; one line per fault.
    """
    faults = Faults(str(path))
    for option in [*asked.columns, *(["--metric"] if asked.metric else [])]:
        faults.add(f"{option}: only for tables, because the arrays of an archive have fixed names; remove it")
    faults.check()
    arrays = _load(path, faults)
    faults.check()
    of = "correct" if "correct" in arrays else "scores"
    _check_shapes(arrays, of, faults)
    configs, blocks = (_names(arrays[name], name, faults) for name in NAMES)
    if "images" in arrays:
        _names(arrays["images"], "images", faults)
    if len(configs) == 1:
        faults.add(f"configs: expected at least two configurations, found {configs[0]!r} only; add another")
    faults.check()
    if len(configs) > MAX_CONFIGS or (of == "scores" and arrays[of].size > MAX_SCORES):
        faults.add(
            f"expected at most {MAX_CONFIGS:,} configurations and {MAX_SCORES:,} scores, found {len(configs):,} and "
            f"{arrays[of].size:,}; the first axis is configurations, the second blocks"
        )
        faults.check()
    words = f"{of} {arrays[of].shape}, configs, blocks"
    tell(f"read: {words}")
    failed = _failed(arrays, configs, blocks, faults)
    rows = _rows(arrays["correct"], configs, blocks, faults) if of == "correct" else {}
    scores = _scores(arrays["scores"], configs, blocks, faults, asked) if of == "scores" else {}
    faults.check()
    results = Results(
        dataset=str(arrays["dataset"].item()).strip() if "dataset" in arrays else "",
        configs=configs,
        blocks=dict.fromkeys(configs, blocks),
        correct=rows,
        scores=scores,
        diverged={
            config: frozenset(np.array(blocks, dtype=object)[marks])
            for config, marks in zip(configs, failed, strict=True)
        },
        bounded=not asked.own_unit,
    )
    unused = [name for name in arrays if name not in KNOWN or (name == "scores" and of == "correct")]
    unit = "image" if of == "correct" else "repeat"
    return Reading(
        name=str(path),
        source={"kind": "npz", "path": str(path), "read_as": words, "rows": int(arrays[of].size), "unit": unit},
        results=(results,),
        notes=(
            *([f"arrays that were not used: {some(map(shown, unused), 8)}"] if unused else []),
            *without_result(results),
            *(note for _, note in alike_in_all_blocks(results)),
        ),
    )


def _load(path: Path, faults: Faults) -> Mapping[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream:
            if stream.read(6) == b"\x93NUMPY":
                np.lib.format.read_magic(_rewound(stream))
                faults.add("expected an archive of named arrays, found a single one; write it with np.savez")
                return {}
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, faults)
        faults.check()
        with path.open("rb") as stream:
            opened = np.load(stream, allow_pickle=False)
            assert isinstance(opened, np.lib.npyio.NpzFile)
            return _take(opened, faults)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        struct.error,
    ) as error:
        _unreadable(error, faults)
    except AnalysisError:
        raise
    except ValueError as error:
        _unreadable(error, faults)
    return {}


def _rewound(stream: IO[bytes]) -> IO[bytes]:
    stream.seek(0)
    return stream


def _unreadable(error: Exception, faults: Faults) -> None:
    what = (str(error) or type(error).__name__).splitlines()[0]
    faults.add(f"expected a NumPy archive, but it cannot be read: {what}; write it with np.savez")


def _check_sizes(archive: zipfile.ZipFile, faults: Faults) -> None:
    """Check the declared sizes of an archive before memory is allocated."""
    total = 0
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name not in KNOWN or not member.filename.endswith(".npy"):
            continue
        total += member.file_size
        with archive.open(member) as stream:
            shape, _, kind = _header(stream)
        claimed = math.prod(shape) * kind.itemsize
        if kind.hasobject:
            continue
        if min(shape, default=0) < 0:
            faults.add(f"{name}: expected a shape, found {shape}; write it again")
        check_bytes(claimed, faults, what=f"{name}: ")
        if not faults and claimed > member.file_size:
            faults.add(
                f"{name}: expected {size(claimed)} by its shape {shape}, found {size(member.file_size)}; write it again"
            )
    if not faults:
        check_bytes(total, faults)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and dtype of an array from its header."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def _take(archive: np.lib.npyio.NpzFile, faults: Faults) -> Mapping[str, NDArray[Any]]:
    """Return the known arrays; of unknown arrays only the names are read."""
    arrays: dict[str, NDArray[Any]] = {}
    found = archive.files
    wanted = [*([] if set(VALUES) & set(found) else ["correct"]), *(name for name in NAMES if name not in found)]
    for name in wanted:
        meant = closest(name, [other for other in found if other not in KNOWN])
        mend = f"if you mean {shown(meant)}, rename it" if meant else "add it with np.savez"
        other = " (or scores, one per repeat)" if name == "correct" else ""
        listed = some(map(shown, found), 12) if found else "none"
        faults.add(f"expected an array {name}{other}, found {listed}; {mend}")
    for name in found:
        try:
            arrays[name] = archive[name] if name in KNOWN else np.zeros(0)
        except ValueError:
            mend = "convert it, such as by np.array(names, dtype=str)"
            faults.add(f"{name}: expected text or numbers, found Python objects; {mend}")
    return arrays


def _check_shapes(arrays: Mapping[str, NDArray[Any]], of: str, faults: Faults) -> None:
    shape = arrays[of].shape
    axes = ("configs", "blocks", "images")[: 3 if of == "correct" else 2]
    if len(shape) != len(axes) or 0 in shape:
        faults.add(f"{of}: expected ({', '.join(axes)}), none of them empty, found the shape {shape}")
        faults.check()
    if arrays[of].dtype.kind not in "buif":
        what = "0 and 1" if of == "correct" else "numbers"
        kind = "uint8" if of == "correct" else "float64"
        faults.add(f"{of}: expected {what}, found {arrays[of].dtype}; convert it to {kind}")
    expected = {"configs": shape[:1], "blocks": shape[1:2], "images": shape[2:], "dataset": (), "failed": shape[:2]}
    for name, right in expected.items():
        if of == "scores" and name == "images":
            continue
        if name in arrays and arrays[name].shape != right and not (name == "dataset" and arrays[name].size == 1):
            faults.add(f"{name}: expected the shape {right} to go with {of} {shape}, found {arrays[name].shape}")


def _scores(
    scores: NDArray[Any], configs: Sequence[str], blocks: Sequence[str], faults: Faults, asked: ReadOptions
) -> dict[str, NDArray[np.float64]]:
    """Return configuration -> scores (R,), checked like the cells of a table."""
    flat = Column(
        codes=np.arange(scores.size, dtype=np.int32), values=tuple(map(repr, scores.astype(float).ravel().tolist()))
    )
    places = NamedRows(
        names=tuple(f"{config!r} on block {block!r}" for config in configs for block in blocks), one="", several=""
    )
    table = Table(source=faults.source, about={}, columns={"scores": flat}, places=places, num_rows=scores.size)
    values = scores_of(table, "scores", faults, asked).reshape(scores.shape)
    return dict(zip(configs, values, strict=True))


def _names(array: NDArray[Any], name: str, faults: Faults) -> tuple[str, ...]:
    texts = tuple(
        (item.decode("utf-8", errors="replace") if isinstance(item, bytes) else str(item)).strip()
        for item in array.ravel().tolist()
    )
    if bad := [position for position, text in enumerate(texts) if not text or not text.isprintable()]:
        faults.add(f"{name}: expected printable names, found {texts[bad[0]]!r} at {some(map(str, bad))}; rename it")
    seen: dict[str, int] = {}
    twice = [(text, seen[text], at) for at, text in enumerate(texts) if seen.setdefault(text, at) != at and text]
    if twice:
        text, first, again = twice[0]
        more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        faults.add(
            f"{name}: expected every name once, found {text!r} at positions {first} and {again}{more}; rename one"
        )
    return texts


def _failed(
    arrays: Mapping[str, NDArray[Any]], configs: Sequence[str], blocks: Sequence[str], faults: Faults
) -> NDArray[np.bool_]:
    failed = arrays.get("failed")
    if failed is None:
        return np.zeros((len(configs), len(blocks)), dtype=np.bool_)
    if failed.dtype.kind not in "buif" or not np.isin(failed, (0, 1)).all():
        faults.add("failed: expected 0 or 1, found something else; use 1 for a training that diverged")
    return np.asarray(failed == 1)


def _rows(
    correct: NDArray[Any], configs: Sequence[str], blocks: Sequence[str], faults: Faults
) -> dict[str, list[NDArray[np.uint8] | None]]:
    """Return configuration -> per block (M,) of 0 and 1, or None; other values are faults with their positions."""
    rows: dict[str, list[NDArray[np.uint8] | None]] = {config: [] for config in configs}
    wrong: list[str] = []
    for c, config in enumerate(configs):
        for r, block in enumerate(blocks):
            values = correct[c, r]
            missing = (values == -1) | (values != values)  # the second: NaN, in dtypes that have it
            strange = np.flatnonzero(~missing & (values != 0) & (values != 1))
            rows[config].append(None if missing.any() else (values != 0).astype(np.uint8))
            if strange.size:
                more = f" and {strange.size - 1} more" if strange.size > 1 else ""
                what = f"expected 0 or 1, found {values[strange[0]]:g} at image {strange[0]}{more}"
            elif missing.any() and not missing.all():
                what = f"expected the correctness of all images or of none, found {missing.sum()} missing"
            else:
                continue
            wrong.append(f"correct[{c}, {r}], config {config!r}, block {block!r}: {what}; fix it")
    for line in wrong[:NUM_SHOWN]:
        faults.add(line)
    if len(wrong) > NUM_SHOWN:
        faults.add(f"correct: {len(wrong) - NUM_SHOWN} more repeats have values other than 0 and 1; fix them")
    return rows
