"""Modules with one device and type: evaluation mode, the parameter store, copies and pickles."""

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
    """A module with one device and one floating-point type, whose parameters Pyro knows."""

    @property
    def device(self) -> torch.device:
        """Where the module is, and where it takes its data."""
        return self.like.device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the module, and of its data."""
        return self.like.dtype

    @property
    def like(self) -> Tensor:
        """A tensor of its type, on its device."""
        return next(itertools.chain(self.parameters(), self.buffers()), torch.empty(0))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without gradients, and with dropout and its like switched off."""
        with evaluation_mode(self):
            yield

    def _register(self, *names: str) -> None:
        """Make the parameters of these submodules known to Pyro's parameter store."""
        # The store keeps the first tensor it sees under a name and would silently train that one.
        # The modules are the truth here, so that two VAEs can live in one process.
        store = pyro.get_param_store()
        held = dict(store.named_parameters())
        for module in names:
            for name, parameter in getattr(self, module).named_parameters():
                if parameter.requires_grad:
                    full_name = param_with_module_name(module, name)
                    if held.get(full_name, parameter) is not parameter:
                        del store[full_name]
                    pyro.param(full_name, parameter)

    def __copy__(self) -> "Module":
        """Return a module of the same parts, of which one may be replaced without the other's."""
        twin = type(self).__new__(type(self))
        own = {k: self.__dict__[k].copy() for k in ("_modules", "_parameters", "_buffers")}
        twin.__dict__.update(self.__dict__ | own)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        # Pyro leaves a weak reference at each parameter that it has seen, and makes it anew when it
        # sees it again. Neither that nor a factory that has no name can be pickled.
        for parameter in self.parameters():
            parameter.__dict__.pop("unconstrained", None)
        state = self.__dict__.copy()
        if "arguments" in state:
            state["arguments"] = {k: v for k, v in state["arguments"].items() if _is_picklable(v)}
        return state


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Without gradients, and with the module in evaluation mode; each part's mode is put back."""
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
        pickle.dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    return True
