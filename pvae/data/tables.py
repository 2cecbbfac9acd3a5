"""Reading tables of comma-separated values."""

import csv
from pathlib import Path

import numpy as np

from pvae.data.arrays import Arrays

_LABEL_COLUMNS = ("label", "labels", "y", "target", "class")


def read_table(path: Path) -> Arrays:
    """Read a table of numbers, one item per line.

    The first line is a header if none of its cells is a number or one of them names the labels:
    ``label``, ``labels``, ``y``, ``target`` or ``class``. The column of that name may hold strings.
    A table has no dtypes: if all its numbers are whole they are read as integers.

    Args:
        path: the file, encoded in UTF-8.

    Returns:
        Values of shape ``(N, D)``, the labels if a column has them, and the names of the D columns
        if there is a header.

    Raises:
        ValueError: if the file is not such a table; the message names the line and the column.
    """
    rows, labels, label_column, width, names = [], [], None, None, None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for cells in reader:
                if not cells:
                    continue
                if width is None:
                    width = len(cells)
                    if _is_header(cells):
                        label_column = _find_labels(path, cells)
                        names = tuple(
                            cell.strip() for i, cell in enumerate(cells) if i != label_column
                        )
                        continue
                if len(cells) != width:
                    raise ValueError(
                        f"{path} has {len(cells)} columns in line {reader.line_num} but {width} in "
                        f"its first; give every line as many."
                    )
                if label_column is not None:
                    labels.append(cells.pop(label_column).strip())
                rows.append(_numbers(path, reader.line_num, label_column, cells))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table of comma-separated text: {error}.") from error
    if not rows or not len(rows[0]):
        raise ValueError(f"{path} holds no values; expected one item per line.")
    x = np.stack(rows)
    if np.isfinite(x).all() and (x == np.round(x)).all() and np.abs(x).max() < 2**53:
        x = x.astype(np.int64)
    return Arrays(x, _label_values(labels) if labels else None, names)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_header(cells: list[str]) -> bool:
    return _find(cells) != [] or not any(_is_number(cell) for cell in cells)


def _find(cells: list[str]) -> list[int]:
    return [i for i, cell in enumerate(cells) if cell.strip().lower() in _LABEL_COLUMNS]


def _find_labels(path: Path, header: list[str]) -> int | None:
    columns = _find(header)
    if len(columns) > 1:
        named = " and ".join(repr(header[column].strip()) for column in columns)
        raise ValueError(f"{path} has more than one column of labels, {named}; keep one.")
    return columns[0] if columns else None


def _numbers(path: Path, line: int, label_column: int | None, cells: list[str]) -> np.ndarray:
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        column = next(i for i, cell in enumerate(cells) if not _is_number(cell))
    shifted = column + 1 + (label_column is not None and column >= label_column)
    raise ValueError(
        f"{path} has {cells[column]!r} in line {line}, column {shifted}; expected a number, or a "
        "column named label if these are labels."
    )


def _label_values(labels: list[str]) -> np.ndarray:
    try:
        return np.array([int(label) for label in labels])
    except ValueError:
        return np.array(labels)
