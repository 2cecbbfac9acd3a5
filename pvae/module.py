"""Base class of modules with one device and dtype, registered with Pyro's parameter store."""

import io
import itertools
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.params import param_with_module_name
from torch import Tensor, nn


class Module(nn.Module):
    """A module with one device and one floating-point dtype, registered with Pyro."""

    @property
    def device(self) -> torch.device:
        """The device of the module and of its data."""
        return self.like.device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point dtype of the module and of its data."""
        return self.like.dtype

    @property
    def like(self) -> Tensor:
        """A tensor of its dtype, on its device."""
        return next(itertools.chain(self.parameters(), self.buffers()), torch.empty(0))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Disable gradients and set evaluation mode while entered."""
        with evaluation_mode(self):
            yield

    def _register(self, *names: str) -> None:
        """Register the parameters of these submodules, or ``None``, with Pyro's parameter store."""
        # The store keeps the first tensor it sees under a name and would silently train that one.
        # The modules' own tensors take precedence, so that two VAEs can share a process.
        store = pyro.get_param_store()
        held = dict(store.named_parameters())
        for module in names:
            part = getattr(self, module)
            for name, parameter in () if part is None else part.named_parameters():
                if parameter.requires_grad:
                    full_name = param_with_module_name(module, name)
                    if held.get(full_name, parameter) is not parameter:
                        del store[full_name]
                    pyro.param(full_name, parameter)

    def __copy__(self) -> "Module":
        """Return a shallow copy, which shares the parts until one is replaced."""
        twin = type(self).__new__(type(self))
        own = {k: self.__dict__[k].copy() for k in ("_modules", "_parameters", "_buffers")}
        twin.__dict__.update(self.__dict__ | own)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        # Pyro attaches a weak reference to each parameter that it sees, and recreates it when it
        # sees it again. Neither that nor a factory without a name can be pickled.
        for parameter in self.parameters():
            parameter.__dict__.pop("unconstrained", None)
        state = self.__dict__.copy()
        if "arguments" in state:
            state["arguments"] = {k: v for k, v in state["arguments"].items() if _is_picklable(v)}
        return state


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Disable gradients and set evaluation mode while entered; restore each submodule's mode."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for m, mode in modes.items():
            m.training = mode


def _is_picklable(value: object) -> bool:
    try:
        _Trial(io.BytesIO()).dump(value)
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    return True


class _Trial(pickle.Pickler):
    """Pickles all but modules of this class, which can be pickled.

    A method of a VAE as an argument of that VAE would otherwise be tried without end.
    """

    def persistent_id(self, value: object) -> bool | None:
        """Stand for a module."""
        return True if isinstance(value, Module) else None
