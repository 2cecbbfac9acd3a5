"""The matrix products and convolutions of a computation, to measure what it costs beside them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_PRODUCTS = {
    _aten.mm.default,
    _aten.addmm.default,
    _aten.bmm.default,
    _aten.baddbmm.default,
    _aten.convolution.default,
    _aten.convolution_backward.default,
}
_BARE = {_aten.addmm.default: _aten.mm.default, _aten.baddbmm.default: _aten.bmm.default}


class _Recorder(TorchDispatchMode):
    """Records every product with arguments like its own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., object], list[Any], dict[str, Any]]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in _PRODUCTS:
            bare = _BARE.get(function, function)
            args = args if bare is function else args[1:3]  # without what is added
            self.calls.append((bare, *pytree.tree_map_only(Tensor, _alike, (list(args), {}))))
        return result


def _alike(x: Tensor) -> Tensor:
    """Random numbers in the layout of a tensor."""
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).normal_()


def products(run: Callable[[], object]) -> Callable[[], None]:
    """Run a computation, and return its products alone, on random numbers of the same layouts."""
    with _Recorder() as recorder:
        run()
    calls = recorder.calls

    def repeat() -> None:
        for function, args, kwargs in calls:
            function(*args, **kwargs)

    return torch.no_grad()(repeat)
