"""Splitting validation and test parts from the training items."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pvae.checks import is_real, is_whole
from pvae.data.dataset import Dataset

SPLIT_SEED = 20131220
"""Seed of every split. It is not the seed of a training run: runs with different seeds must share
their parts, or their results would differ by their test data."""

_DEFAULT = 0.1


def split(
    dataset: Dataset,
    validation: int | float | None = None,
    test: int | float | None = None,
) -> Dataset:
    """Split a random validation and test part from the items of ``train``.

    The split is the same at each call, in every version of this library and on every machine. The
    items of the new parts are in random order, so that the first of them are a random sample.

    Args:
        dataset: the data; parts that they come with are kept.
        validation: number of items, or the fraction of the items of ``train``; 0 for none,
            and by default 0.1 if the data come without one.
        test: the same for the test part.

    Returns:
        A data set with the new parts.

    Raises:
        ValueError: if a number is invalid, leaves nothing to train on, or is for a part that
            the data come with.

    Example:
        >>> import pvae.data
        >>> from pvae.data.splits import split
        >>> split(pvae.data.load("digits", validation=0, test=0), validation=100, test=0.2).test
        Part(359 items of shape (1, 8, 8) with labels)
    """
    total = len(dataset.train)
    wanted = {"validation": validation, "test": test}
    counts = {
        part: _count(part, number, total, getattr(dataset, part) is not None)
        for part, number in wanted.items()
    }
    if sum(counts.values()) >= total:
        raise ValueError(
            f"A validation part of {counts['validation']:,} and a test part of {counts['test']:,} "
            f"leave none of {total:,} items to train on; ask for fewer."
        )
    # NumPy guarantees that the stream of RandomState never changes.
    rows = np.random.RandomState(SPLIT_SEED).permutation(total).tolist()
    parts: dict[str, Any] = {}
    for part, count in counts.items():
        if count:
            parts[part], rows = dataset.train.subset(rows[:count]), rows[count:]
    if parts:
        parts["train"] = dataset.train.subset(rows)
    return replace(dataset, **parts)


def _count(part: str, number: int | float | None, total: int, exists: bool) -> int:
    if exists:
        if number:
            raise ValueError(f"The data come with a {part} part; leave {part}={number} out.")
        return 0
    if number is None:
        return round(_DEFAULT * total)
    if is_real(number):
        if number == 0 or (is_whole(number) and number > 0):
            return int(number)
        if 0 < number < 1:
            count = round(float(number) * total)
            if count == 0:
                raise ValueError(
                    f"The fraction {part}={number} of {total:,} items is less than one item; "
                    f"give a larger fraction, or 0 for none."
                )
            return count
    raise ValueError(
        f"{part}={number!r} is not possible; give a fraction above 0 and below 1, or a whole "
        f"number of items."
    )
