"""Descriptions of results in words: their fields, shapes and reliability."""

from typing import Any

from torch import Tensor

LOWER_BOUND = "a lower bound, its error unknown"
TOLERATED = 0.05  # fraction of data with k-hat above 0.7 up to which an error is given
CROSSED = 3.0  # errors by which bounds that are equal may cross
FEW_CHAINS = 3.0  # effective number of chains up to which their spread is not an error


def described(result: Any, *sentences: str) -> str:
    """Describe a named tuple: a line with the sentences, then one for each field.

    ``over_weights`` is left out if there is only one draw of the weights, since it then repeats
    ``log_prob``.

    Args:
        result: the named tuple; its fields are tensors, numbers or None.
        *sentences: the sentences of the first line.
    """
    name = type(result).__name__
    fields = {
        field: value
        for field, value in zip(result._fields, result, strict=True)
        if field != "over_weights" or value.shape[-1] > 1
    }
    width = max(map(len, fields))
    lines = [f"{name}: {'; '.join(sentences)}" if sentences else name]
    for field, value in fields.items():
        lines.append(f"  {field:<{width}}  {_in_words(value)}")
    return "\n".join(lines)


def crossed(gap: float, error: float | None) -> bool:
    """Whether a lower bound is above an upper one by more than their error."""
    return gap < -CROSSED * (error or 0)


def interval(lower: float, upper: float, error: float | None) -> str:
    """Describe a sandwich of log p(x).

    Bounds are estimates, so the upper may be below the lower if they are close.

    Args:
        lower: the lower bound.
        upper: the upper bound.
        error: the standard error of their distance, or ``None``.
    """
    gap, within = upper - lower, "" if error is None else f" ± {error:.3f}"
    if crossed(gap, error):
        return (
            f"{lower:.3f} and {upper:.3f}, the lower bound above the upper "
            f"(gap {gap:.3f}{within}): more chains are needed"
        )
    if gap <= 0:
        return f"{(lower + upper) / 2:.3f}, bounds equal within error (gap {gap:.3f}{within})"
    return f"{lower:.3f} to {upper:.3f}, gap {gap:.3f}{within}"


def estimate(mean: float, error: float | None, unreliable: float) -> str:
    """Describe an estimate of the mean of log p(x) with its error, or that it is unknown.

    Args:
        mean: the mean of the estimates.
        error: its standard error, or ``None``.
        unreliable: the fraction of the data with k-hat above 0.7.
    """
    if unreliable > TOLERATED:
        return f"{mean:.3f}, {LOWER_BOUND}"
    if error is None:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {error:.3f} (samples)"


def within(error: float | None, of: str = "") -> str:
    """Describe a further standard error and what it is of; nothing if it is ``None``."""
    return "" if error is None else f" ± {error:.3f}{of}"


def unreliable_items(unreliable: float, n: int) -> str:
    """Describe how many of n data have a k-hat above 0.7, and the consequence for the error.

    Args:
        unreliable: the fraction of these data.
        n: the number of data.
    """
    if not unreliable:
        return f"0 of {n:,}"
    left_out = "; their error is unknown and left out of the ±" if unreliable <= TOLERATED else ""
    return f"{round(unreliable * n):,} of {n:,} ({100 * unreliable:.1f} %){left_out}"


def _in_words(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    shape = f"shape {tuple(value.shape)}"
    if value.numel() == 0:
        return shape
    numbers = value.detach().double().flatten()
    known = numbers[numbers.isfinite()]
    said = [shape] if value.dim() else []
    if len(known):
        said.append(f"mean {known.mean().item():.6g}")
        if len(known) > 1:
            said.append(f"from {known.min().item():.6g} to {known.max().item():.6g}")
    if len(known) < len(numbers):
        said.append(f"{len(numbers) - len(known):,} not finite")
    return ", ".join(said) if value.dim() else f"{value.item():.6g}"
