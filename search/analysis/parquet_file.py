"""Read results from a Parquet file batch by batch, so that millions of rows need little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.analysis.bounds import MAX_LINE, check_bytes, check_cells
from search.analysis.csv_file import Choose
from search.analysis.faults import AnalysisError, Faults
from search.analysis.layout import PREVIEW
from search.analysis.shape import Sheet
from search.analysis.table import Coder

BATCH = 500_000


def read_parquet(path: Path, choose: Choose) -> Sheet:
    """Read a Parquet file with the same columns as a CSV file, as text or numbers.

    Args:
        path: The file.
        choose: Decides the meaning of the columns.

    Returns:
        The sheet; rows are numbered like a spreadsheet's, with the first row after the header as row 2.

    Raises:
        AnalysisError: The file is not Parquet, is too large, or pyarrow is missing; one line per fault.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise AnalysisError(
            f"{path}: Parquet files need pyarrow, which is not installed; pip install pyarrow, or save it as CSV"
        ) from None
    faults = Faults(str(path))
    try:
        with parquet.ParquetFile(path) as file:
            headings = list(file.schema_arrow.names)
            kinds = [file.schema_arrow.field(at).type for at in range(len(headings))]
            plain = [name for name, kind in zip(headings, kinds, strict=True) if not arrow.types.is_nested(kind)]
            num_rows = file.metadata.num_rows
            _check_size(file.metadata, set(plain), faults)
        faults.check()
        # Text stays dictionary-encoded, so that a value repeated a million times is held once.
        with parquet.ParquetFile(path, read_dictionary=plain) as file:
            layout = choose(headings, _preview(file, headings, plain, faults), faults)
            faults.check()
            assert layout is not None
            for at in layout.positions:
                if arrow.types.is_nested(kinds[at]):
                    faults.add(
                        f"expected one value per row in the column {headings[at]}, found {kinds[at]}; flatten it"
                    )
            check_cells(num_rows * len(layout.positions), faults)
            faults.check()
            coders = {at: Coder() for at in layout.positions}
            for batch in file.iter_batches(batch_size=BATCH, columns=[headings[at] for at in layout.positions]):
                for at, coder in coders.items():
                    codes, texts = _coded(batch.column(headings[at]), faults)
                    coder.add_coded(codes, texts)
    except (arrow.ArrowException, OSError) as error:
        what = str(error).splitlines()[0].rstrip(".")
        raise AnalysisError(f"{path}: expected a Parquet file, but it cannot be read: {what}; write it again") from None
    if not num_rows:
        faults.add("expected results, found no rows")
        faults.check()
    return Sheet(
        source=str(path),
        about={"kind": "parquet", "path": str(path)},
        layout=layout,
        columns={at: coder.column() for at, coder in coders.items()},
        numbers=np.arange(2, num_rows + 2, dtype=np.int32),
    )


def _check_size(metadata: Any, names: set[str], faults: Faults) -> None:  # noqa: ANN401  pyarrow has no types
    """Check the declared unpacked size: a repetitive file is small on disk."""
    total = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for at in range(row_group.num_columns):
            column = row_group.column(at)
            if column.path_in_schema in names:
                total += column.total_uncompressed_size
    check_bytes(total, faults)
    check_cells(metadata.num_rows, faults)


def _preview(file: Any, headings: list[str], plain: list[str], faults: Faults) -> list[list[str]]:  # noqa: ANN401
    for batch in file.iter_batches(batch_size=PREVIEW, columns=plain):
        cells = {name: _coded(batch.column(name), faults) for name in plain}
        return [
            [cells[name][1][cells[name][0][at]] if name in cells else "" for name in headings]
            for at in range(batch.num_rows)
        ]
    return []


def _coded(cells: Any, faults: Faults) -> tuple[NDArray[np.int64], list[str]]:  # noqa: ANN401  pyarrow has no types
    """Return the codes of some cells, (rows,), and their distinct values."""
    import pyarrow as arrow
    from pyarrow import compute

    coded = cells if arrow.types.is_dictionary(cells.type) else cells.dictionary_encode(null_encoding="encode")
    known = coded.dictionary
    if len(known) and (arrow.types.is_string(known.type) or arrow.types.is_binary(known.type)):
        longest = compute.max(compute.binary_length(known)).as_py() or 0
        if longest > MAX_LINE:
            faults.add(f"expected cells of at most {MAX_LINE:,} characters, found one of {longest:,}; shorten it")
            faults.check()
    texts = [_text(value) for value in known.to_pylist()]
    codes = coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, [*texts, ""] if (codes == len(texts)).any() else texts


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
