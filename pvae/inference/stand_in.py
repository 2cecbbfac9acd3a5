"""Tensors that stand in for Python values which change from step to step."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pvae.inference.guards import Watch
from pvae.inference.rollback import is_plain
from pvae.inference.state import Place


class StandIn:
    """A tensor that is an input of a graph, in place of a float, an array or another tensor.

    Args:
        place: what holds the value.
        key: by what name.
        tensors: tensors that the value is computed with, of whose precision and device it is.

    Attributes:
        tensor: the tensor.
    """

    def __init__(self, place: Place, key: Any, tensors: Iterable[Tensor]) -> None:
        self.place = place
        self.key = key
        value = place.get(key)
        self.kind = type(value)
        if isinstance(value, float):
            first = next(iter(tensors), torch.empty(()))
            double = any(t.dtype == torch.float64 for t in tensors)
            dtype = torch.float64 if double else torch.get_default_dtype()
            self.tensor = torch.tensor(value, dtype=dtype, device=first.device)
        else:
            self.tensor = _as_tensor(value).detach().clone()

    def take(self, watch: Watch) -> None:
        """Take over the value that is there now, if it is one of the same kind."""
        value = self.place.get(self.key)
        if type(value) is not self.kind:
            return
        if isinstance(value, float):
            self.tensor.fill_(value)
        else:
            given = _as_tensor(value)
            if (given.shape, given.dtype, given.device) != (
                self.tensor.shape,
                self.tensor.dtype,
                self.tensor.device,
            ):
                return
            self.tensor.copy_(given)
        watch.accept(self.place.holder, self.key, value)


def replaceable(value: Any) -> bool:
    """Whether a tensor can stand in for a value."""
    if type(value) is Tensor:
        return is_plain(value) and not value.requires_grad
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf" and value.dtype.isnative and value.flags.writeable
    return type(value) is float


def _as_tensor(value: np.ndarray | Tensor) -> Tensor:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
