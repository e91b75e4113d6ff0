"""Results in a Parquet file, read batch by batch: millions of rows in little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from search.analysis.columns import choose_columns, unused, wanted
from search.analysis.faults import AnalysisError, Faults
from search.analysis.table import Coder, FileRows, Table

BATCH = 500_000


def read_parquet(path: Path) -> Table:
    """Read a Parquet file with the columns that a CSV file would have; text and numbers alike.

    Args:
        path: The file.

    Returns:
        The table; rows are numbered as they would be in a spreadsheet, the first one after the header being row 2.

    Raises:
        AnalysisError: It is no such file, or pyarrow is missing; one line per fault.
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
            places = choose_columns(headings, faults)
            faults.check()
            names = wanted(places)
            for name, position in names.items():
                kind = file.schema_arrow.field(position).type
                if arrow.types.is_nested(kind):
                    faults.add(f"expected one value per row in the column {name}, found {kind}; flatten it")
            faults.check()
            coders = {name: Coder() for name in names}
            for batch in file.iter_batches(batch_size=BATCH, columns=[headings[at] for at in names.values()]):
                for name, position in names.items():
                    _take(coders[name], batch.column(headings[position]))
            num_rows = file.metadata.num_rows
    except (arrow.ArrowException, OSError) as error:
        what = str(error).splitlines()[0].rstrip(".")
        raise AnalysisError(f"{path}: expected a Parquet file, but it cannot be read: {what}; write it again") from None
    if not num_rows:
        faults.add("expected results, found no rows")
        faults.check()
    return Table(
        source=str(path),
        about={"kind": "parquet", "path": str(path)},
        columns={name: coder.column() for name, coder in coders.items()},
        places=FileRows(numbers=np.arange(2, num_rows + 2, dtype=np.int32)),
        num_rows=num_rows,
        notes=unused(headings, places),
    )


def _take(coder: Coder, cells: Any) -> None:  # noqa: ANN401  pyarrow has no types
    import pyarrow as arrow

    coded = cells if arrow.types.is_dictionary(cells.type) else cells.dictionary_encode(null_encoding="encode")
    texts = [_text(value) for value in coded.dictionary.to_pylist()]
    codes = coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False).astype(np.int64)
    coder.add_coded(codes, [*texts, ""] if (codes == len(texts)).any() else texts)


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
