"""Checks of the numbers in a request, and conversion of results to numbers for JSON."""

import base64
import binascii
import math
from typing import Any

import torch
from torch import Tensor


def as_vectors(name: str, values: Any, size: int, most: int) -> Tensor:
    """Convert a list of lists of numbers to a tensor of shape (n, size).

    Raises:
        ValueError: if it is no such list, or n is 0 or above ``most``.
    """
    if not isinstance(values, list) or not 1 <= len(values) <= most:
        raise ValueError(f"{name} must be a list of 1 to {most:,} lists of {size} numbers.")
    return torch.stack([as_vector(name, value, size) for value in values])


def as_vector(name: str, values: Any, size: int) -> Tensor:
    """Convert a list of numbers to a tensor of shape (size,).

    Raises:
        ValueError: if it is no list of so many finite numbers.
    """
    whole = isinstance(values, list) and len(values) == size
    if not whole or not all(_is_number(value) for value in values):
        raise ValueError(f"{name} must be a list of {size} finite number{'s' * (size != 1)}.")
    return torch.tensor([float(value) for value in values])


def as_index(name: str, value: Any, size: int) -> int:
    """Check the number of one of ``size`` things, from 0.

    Raises:
        ValueError: if it is none.
    """
    return as_count(name, value, size - 1, least=0)


def as_count(name: str, value: Any, most: int, least: int = 1) -> int:
    """Check a whole number from ``least`` to ``most``.

    Raises:
        ValueError: if it is none.
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most:,}.")
    return value


def as_bytes(name: str, text: Any) -> bytes:
    """Decode base64.

    Raises:
        ValueError: if it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise ValueError(f"{name} must be text in base64.") from error


def finite(values: Tensor) -> list:
    """Nested lists of numbers of 6 digits, ``None`` where a number is not finite."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return float(f"{value:.6g}") if math.isfinite(value) else None

    return plain(values.detach().cpu().double().tolist())


def _is_number(value: Any) -> bool:
    # A larger number is no float of 32 bits.
    return type(value) in (int, float) and -3e38 < value < 3e38
