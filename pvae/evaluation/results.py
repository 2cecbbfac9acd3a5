"""Results in words: what fields there are, of what shape, and what their numbers are worth."""

from typing import Any

from torch import Tensor

LOWER_BOUND = "a lower bound, its error unknown"
TOLERATED = 0.05  # the share of data of k-hat above 0.7, up to which the error of the rest is given
FEW_CHAINS = 3.0  # chains' worth of weights, up to which their spread tells no error


def described(result: Any, *sentences: str) -> str:
    """A named tuple in words: a line for each sentence, then one for each field.

    Args:
        result: whose fields are tensors, numbers or None.
        *sentences: what to say before.
    """
    name = type(result).__name__
    width = max(map(len, result._fields))
    lines = [f"{name}: {'; '.join(sentences)}" if sentences else name]
    for field, value in zip(result._fields, result, strict=True):
        lines.append(f"  {field:<{width}}  {_in_words(value)}")
    return "\n".join(lines)


def interval(lower: float, upper: float, error: float | None) -> str:
    """A sandwich of log p(x) in words.

    Bounds are estimates, and where they meet the upper may come out below the lower.

    Args:
        lower: the lower bound.
        upper: the upper bound.
        error: the standard error of their distance, or ``None``.
    """
    gap, within = upper - lower, "" if error is None else f" ± {error:.3f}"
    if gap <= 0:
        return f"{(lower + upper) / 2:.3f}, bounds equal within error (gap {gap:.3f}{within})"
    return f"{lower:.3f} to {upper:.3f}, gap {gap:.3f}{within}"


def estimate(mean: float, error: float | None, unreliable: float) -> str:
    """An estimate of the mean of log p(x) with its error, or that this is not known.

    Args:
        mean: of the estimates.
        error: its standard error, or ``None``.
        unreliable: the share of the data whose k-hat is above 0.7.
    """
    if unreliable > TOLERATED:
        return f"{mean:.3f}, {LOWER_BOUND}"
    if error is None:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {error:.3f} (samples)"


def unreliable_items(unreliable: float, n: int) -> str:
    """How many of n data have a k-hat above 0.7, and what this means for the error.

    Args:
        unreliable: their share.
        n: how many data there are.
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
