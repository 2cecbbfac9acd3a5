"""Patches that make the code of Pyro and torch traceable."""

import builtins
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pyro.util
import torch
from pyro.ops import provenance
from pyro.poutine.scale_messenger import ScaleMessenger
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributions import Distribution

from pvae.inference.symbolic import MORE, Symbolic
from pvae.inference.untraceable import Untraceable


@contextmanager
def traceable(mode: Symbolic) -> Iterator[None]:
    """Disable Pyro's checks of values, which the eager run for comparison makes."""
    begin: Callable[..., None] = Distribution.__init__

    def unchecked(self: Distribution, *args: Any, validate_args: Any = None, **kwargs: Any) -> None:
        begin(self, *args[:2], validate_args=False, **kwargs)

    def tracked(cls: type, data: Tensor, provenance: frozenset = frozenset()) -> Tensor:
        return mode.derive(data, provenance)

    make, convert, has, hashed = torch.tensor, torch.from_numpy, hasattr, Tensor.__hash__

    def has_attribute(thing: Any, name: str) -> bool:
        if type(thing) in (Tensor, FakeTensor) and mode.in_program and mode.varies(thing):
            asks = str(sys._getframe(1).f_globals.get("__name__", ""))
            if not asks.startswith("torch.") and has(thing, name) is not has(0.0, name):
                raise Untraceable(MORE)
        return has(thing, name)

    def hash_of(tensor: Tensor) -> int:  # by identity, which is not that of a number
        asks = str(sys._getframe(1).f_globals.get("__name__", ""))
        if mode.in_program and not asks.startswith("torch.") and mode.varies(tensor):
            raise Untraceable(MORE)
        return hashed(tensor)

    def tensor(data: Any, **kwargs: Any) -> Tensor:  # where a tensor stands in for an array
        return data.detach().clone().to(**kwargs) if torch.is_tensor(data) else make(data, **kwargs)

    def from_numpy(data: Any) -> Tensor:
        return data if torch.is_tensor(data) else convert(data)

    begin_scale = ScaleMessenger.__init__

    def scaled(self: ScaleMessenger, scale: Any) -> None:
        if torch.is_tensor(scale) and mode.decide(scale > 0, raises=True) is False:
            raise Untraceable("a scale is not positive")
        begin_scale(self, scale)

    def tracing() -> bool | None:  # Pyro's objectives ask, on account of TorchScript
        asks = sys._getframe(1).f_globals.get("__name__", "")
        return True if asks.startswith("pyro.") and not mode.in_program else None

    with (
        pyro.validation_enabled(False),
        _without_mkldnn(),
        mock.patch.object(Distribution, "__init__", unchecked),
        mock.patch.object(Distribution, "_validate_sample", return_value=None),
        mock.patch.object(provenance.ProvenanceTensor, "__new__", tracked),
        mock.patch.object(provenance, "extract_provenance", lambda x: (x, mode.origin(x))),
        mock.patch.object(torch._C, "_get_tracing_state", tracing),
        mock.patch.object(ScaleMessenger, "__init__", scaled),
        mock.patch.multiple(math, **_of_tensors()),
        mock.patch.object(builtins, "hasattr", has_attribute),
        mock.patch.object(Tensor, "__hash__", hash_of),
        mock.patch.object(torch, "manual_seed", _seed),
        mock.patch.object(torch, "tensor", tensor),
        mock.patch.object(torch, "from_numpy", from_numpy),
        mock.patch.object(pyro.util, "torch_isnan", return_value=False),
        mock.patch.object(pyro.util, "torch_isinf", return_value=False),
    ):
        yield


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    """Decompose recurrent networks into operators that can be traced."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def _of_tensors() -> dict[str, Any]:
    """Functions of numbers that take tensors as well."""

    def either(name: str) -> Callable:
        of_number, of_tensor = getattr(math, name), getattr(torch, name)

        def function(*args: Any) -> Any:
            return (of_tensor if any(map(torch.is_tensor, args)) else of_number)(*args)

        return function

    names = "cos exp expm1 log log1p pow sigmoid sin sqrt tanh"
    return {name: either(name) for name in names.split() if hasattr(math, name)}


def _seed(seed: int) -> None:
    raise Untraceable("it seeds torch")
