"""Correctness of every image in one NumPy archive: the form for large results.

Shapes: C configurations, R blocks, M images.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.analysis.faults import NUM_SHOWN, Faults, closest, some
from search.analysis.notes import alike_in_all_blocks, without_result
from search.analysis.reading import Reading
from search.significance.results import Results

REQUIRED = ("correct", "configs", "blocks")
OPTIONAL = ("images", "dataset", "failed")
KNOWN = (*REQUIRED, *OPTIONAL)


def read_npz(path: Path) -> Reading:
    """Read an archive of correctness: `correct` (C, R, M), `configs` (C,) and `blocks` (R,).

    `correct` holds 0 and 1 in any numeric type; a repeat without a result is NaN or -1 in all of its images. There may
    be `images` (M,), their names; `dataset`, a name; `failed` (C, R), 1 where the training diverged.

    Args:
        path: The file.

    Raises:
        AnalysisError: It is no such archive; one line per fault.
    """
    faults = Faults(str(path))
    arrays = _load(path, faults)
    faults.check()
    _check_shapes(arrays, faults)
    configs, blocks = (_names(arrays[name], name, faults) for name in ("configs", "blocks"))
    if "images" in arrays:
        _names(arrays["images"], "images", faults)
    if len(configs) == 1:
        faults.add(f"configs: expected at least two configurations, found {configs[0]!r} only; add another")
    faults.check()
    failed = _failed(arrays, configs, blocks, faults)
    rows = _rows(arrays["correct"], configs, blocks, faults)
    faults.check()
    results = Results(
        dataset=str(arrays["dataset"].item()).strip() if "dataset" in arrays else "",
        configs=configs,
        blocks=dict.fromkeys(configs, blocks),
        correct=rows,
        diverged={
            config: frozenset(np.array(blocks, dtype=object)[marks])
            for config, marks in zip(configs, failed, strict=True)
        },
    )
    unused = [name for name in arrays if name not in KNOWN]
    return Reading(
        name=str(path),
        source={"kind": "npz", "path": str(path), "rows": int(arrays["correct"].size), "unit": "image"},
        results=(results,),
        notes=(
            *([f"arrays that were not used: {some(unused, 8)}"] if unused else []),
            *without_result(results),
            *(note for _, note in alike_in_all_blocks(results)),
        ),
    )


def _load(path: Path, faults: Faults) -> Mapping[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if isinstance(archive, np.lib.npyio.NpzFile):
                return _take(archive, faults)
            faults.add("expected an archive of named arrays, found a single one; write it with np.savez")
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError) as error:
        what = (str(error) or type(error).__name__).splitlines()[0]
        faults.add(f"expected a NumPy archive, but it cannot be read: {what}; write it with np.savez")
    return {}


def _take(archive: np.lib.npyio.NpzFile, faults: Faults) -> Mapping[str, NDArray[Any]]:
    """The arrays that mean something; of others, their names alone."""
    arrays: dict[str, NDArray[Any]] = {}
    found = archive.files
    for name in REQUIRED:
        if name not in found:
            meant = closest(name, [other for other in found if other not in KNOWN])
            mend = f"if {meant} is meant, rename it" if meant else "add it with np.savez"
            faults.add(f"expected an array {name}, found {some(found, 12) if found else 'none'}; {mend}")
    for name in found:
        try:
            arrays[name] = archive[name] if name in KNOWN else np.zeros(0)
        except ValueError:
            mend = "convert it, such as by np.array(names, dtype=str)"
            faults.add(f"{name}: expected text or numbers, found Python objects; {mend}")
    return arrays


def _check_shapes(arrays: Mapping[str, NDArray[Any]], faults: Faults) -> None:
    shape = arrays["correct"].shape
    if len(shape) != 3 or 0 in shape:
        faults.add(f"correct: expected (configs, blocks, images), none of them empty, found the shape {shape}")
        return
    if arrays["correct"].dtype.kind not in "buif":
        faults.add(f"correct: expected 0 and 1, found {arrays['correct'].dtype}; convert it to uint8")
    expected = {"configs": shape[:1], "blocks": shape[1:2], "images": shape[2:], "dataset": (), "failed": shape[:2]}
    for name, right in expected.items():
        if name in arrays and arrays[name].shape != right and not (name == "dataset" and arrays[name].size == 1):
            faults.add(f"{name}: expected the shape {right} to go with correct {shape}, found {arrays[name].shape}")


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
        faults.add("failed: expected 0 or 1, found something else; 1 marks a training that diverged")
    return np.asarray(failed == 1)


def _rows(
    correct: NDArray[Any], configs: Sequence[str], blocks: Sequence[str], faults: Faults
) -> dict[str, list[NDArray[np.uint8] | None]]:
    """Configuration -> per block (M,) of 0 and 1, or None; what is neither is noted, with its place."""
    rows: dict[str, list[NDArray[np.uint8] | None]] = {config: [] for config in configs}
    wrong: list[str] = []
    for c, config in enumerate(configs):
        for r, block in enumerate(blocks):
            values = correct[c, r]
            missing = (values == -1) | (values != values)  # the second: NaN, in types that have one
            strange = np.flatnonzero(~missing & (values != 0) & (values != 1))
            rows[config].append(None if missing.any() else (values != 0).astype(np.uint8))
            if strange.size:
                more = f" and {strange.size - 1} more" if strange.size > 1 else ""
                what = f"expected 0 or 1, found {values[strange[0]]:g} at image {strange[0]}{more}"
            elif missing.any() and not missing.all():
                what = f"expected the correctness of all images or of none, found {missing.sum()} missing"
            else:
                continue
            wrong.append(f"correct[{c}, {r}], config {config!r}, block {block!r}: {what}; mend it")
    for line in wrong[:NUM_SHOWN]:
        faults.add(line)
    if len(wrong) > NUM_SHOWN:
        faults.add(f"correct: {len(wrong) - NUM_SHOWN} more repeats are not 0 and 1 throughout; mend them")
    return rows
