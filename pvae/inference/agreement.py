"""Comparison of a graph with the eager program, up to rounding."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pvae.inference.symbolic import marked

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}  # of a graph, relative to the eager program


class Terms(TorchFunctionMode):
    """Records the size of the terms of a loss, which may cancel to a small sum.

    Attributes:
        largest: the largest sum of absolute values that was taken outside of the programs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0.0
        self.in_program = False

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function in (torch.sum, torch.Tensor.sum) and not self.in_program:
            x = args[0].detach()
            if x.is_floating_point() and x.numel():
                self.largest = max(self.largest, float(x.abs().sum()))
        return function(*args, **(kwargs or {}))

    def program(self, program: Callable) -> Callable:
        """Mark what runs inside a program."""
        return marked(self, program)


def size(tensor: Tensor) -> float:
    """The largest absolute value of a tensor."""
    return float(tensor.abs().max()) if tensor.numel() and tensor.dtype != torch.bool else 0.0


def close(value: Tensor, reference: Tensor, scale: float) -> bool:
    """Whether values are equal up to rounding at a scale; NaN equals NaN."""
    value = value.to(reference)
    same = (value == reference) | (value.isnan() & reference.isnan())
    if reference.is_floating_point() or reference.is_complex():
        tolerance = TOLERANCES.get(reference.dtype, 0.05) * scale
        same |= (value - reference).abs() <= tolerance
    return bool(same.all())


def close_or_none(value: Tensor | None, reference: Tensor | None, largest: float) -> bool:
    """Compare gradients; none and zero are the same."""
    if value is None or reference is None:
        given = value if reference is None else reference
        return given is None or not given.any()
    # What cancels in one gradient is as large as rounding in the others.
    return close(value, reference, max(size(reference), 1e-3 * largest))
