"""Rows of a history, from CSV or Parquet, some thousand at once: a history is larger than memory.

Parquet needs pyarrow, which is large, so it is an extra: `pip install "tallystick[parquet]"`.
"""

import csv
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from tallystick.errors import Invalid
from tallystick.lab.replay.mapping import Nanoseconds

ROWS_AT_ONCE = 2_000


class History(Protocol):
    """A file of rows."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns."""
        ...

    @property
    def count(self) -> int | None:
        """How many rows there are, where that is known without reading them."""
        ...

    def rows(self, skip: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Rows with their numbers, from 0, without the first `skip`. Raises `Invalid` for what is no row."""
        ...


def open_history(path: Path) -> History:
    """The history in a file, by its ending. Raises `Invalid` for another, or without pyarrow, `OSError` without it."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return ParquetHistory(path)
    if path.suffix.lower() in (".csv", ".txt"):
        return CsvHistory(path)
    raise Invalid("", f"{path}: must end in .csv or .parquet")


class CsvHistory:
    """UTF-8, columns separated by commas, their names in the first line."""

    count: int | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                self.columns: Sequence[str] = [name.strip() for name in next(csv.reader(file), [])]
        except (csv.Error, UnicodeDecodeError) as error:
            raise Invalid("", f"{path} is no CSV in UTF-8: {error}") from error
        if not self.columns:
            raise Invalid("", f"{path} is empty; its first line must name the columns")

    def rows(self, skip: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        part: list[tuple[int, dict[str, Any]]] = []
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                next(reader)
                for number, cells in enumerate(row for row in reader if row):
                    if number < skip:
                        continue
                    part.append((number, dict(zip(self.columns, cells, strict=False))))
                    if len(part) == ROWS_AT_ONCE:
                        yield part
                        part = []
        except (csv.Error, UnicodeDecodeError) as error:
            raise Invalid("", f"{self._path}, after row {(part or [(0, {})])[-1][0] + 1}: {error}") from error
        if part:
            yield part


class ParquetHistory:
    """One table, read a part at a time."""

    def __init__(self, path: Path) -> None:
        try:
            parquet = importlib.import_module("pyarrow.parquet")
            failures: Any = importlib.import_module("pyarrow").ArrowException
        except ModuleNotFoundError as error:
            raise Invalid(
                "", 'Parquet needs pyarrow: pip install "tallystick[parquet]"; or save the file as CSV'
            ) from error
        self._path = path
        self._failures = failures
        try:
            self._file: Any = parquet.ParquetFile(path)
        except failures as error:
            raise Invalid("", f"{path} is no Parquet file: {error}") from error
        self.columns: Sequence[str] = list(self._file.schema_arrow.names)
        self.count: int | None = int(self._file.metadata.num_rows)

    def rows(self, skip: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        number = 0
        try:
            for batch in self._file.iter_batches(ROWS_AT_ONCE):
                if number + batch.num_rows > skip:
                    rows = list(enumerate(self._values(batch), number))
                    yield rows[max(0, skip - number) :]
                number += batch.num_rows
        except self._failures as error:
            raise Invalid("", f"{self._path}, after row {number}: {error}") from error

    @staticmethod
    def _values(batch: Any) -> list[dict[str, Any]]:
        """Rows as Python values; instants as whole nanoseconds, which `datetime` cannot hold."""
        arrow = importlib.import_module("pyarrow")
        names, columns = [], []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            names.append(name)
            if arrow.types.is_timestamp(column.type):
                counted = column.cast(arrow.timestamp("ns", column.type.tz)).cast(arrow.int64()).to_pylist()
                columns.append([None if value is None else Nanoseconds(value) for value in counted])
            else:
                columns.append(column.to_pylist())
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
