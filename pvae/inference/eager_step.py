"""An eager first step that is undone, and applied only if no graph takes the step."""

from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro.infer import SVI
from pyro.infer.util import torch_item, zero_grads
from torch import Tensor
from torch.utils import _pytree as pytree

from pvae.inference.equality import equal
from pvae.inference.guards import Watch
from pvae.inference.rollback import Record, noise, set_noise, undone
from pvae.inference.run import observed


class EagerStep:
    """Loss and gradients of an eager run, which is undone, and applied as a step on request.

    So a graph can take the step with the same random numbers if it agrees with this run. Otherwise
    the run itself is the step, and its side effects happen only once.

    Args:
        svi: the SVI whose programs are run.
        gradients: whether to take a step, or only evaluate the loss.
        args: arguments of the programs.
        kwargs: more of them.

    Attributes:
        run: the record of the run.
    """

    def __init__(self, svi: SVI, gradients: bool, args: tuple, kwargs: dict) -> None:
        self.svi = svi
        self.gradients = gradients
        self._call: Callable = lambda: (svi.loss_and_grads if gradients else svi.loss)(
            svi.model, svi.guide, *args, **kwargs
        )
        known = list(pyro.get_param_store()._params.values())
        self._own = {id(p): p.grad for p in known}
        self._before = noise()
        for p in known:
            p.grad = None
        record = Record()
        try:
            with observed() as self.run, record, torch.set_grad_enabled(gradients):
                self.loss = self._call()
            self._leaves = list({id(p): p for p in (*known, *self.run.named.values())}.values())
            self._found = [p.grad for p in self._leaves]
        finally:  # an error is the program's own, and this was its step
            for p in known:
                p.grad = self._own[id(p)]
        for p in self._leaves:
            p.grad = self._own.get(id(p))
        self._after = noise()
        self._written = record.written()
        record.restore()
        set_noise(self._before)

    def repeats(self, watch: Watch) -> bool:
        """Whether another run has the same result, so that this one created nothing.

        Raises:
            Untraceable: if it changes Python's state, which is then restored.
        """
        with undone(self._leaves, watch), torch.set_grad_enabled(self.gradients):
            loss = self._call()
            ours, theirs = (pytree.tree_leaves(one) for one in (self.loss, loss))
            return (
                len(ours) == len(theirs)
                and all(map(_same, ours, theirs))
                and all(_same(p.grad, g) for p, g in zip(self._leaves, self._found, strict=True))
                and all(map(_same, pytree.tree_leaves(noise()), pytree.tree_leaves(self._after)))
            )

    def take(self) -> Any:
        """Take the step as SVI does, and return the loss."""
        with torch.no_grad():
            for tensor, value in self._written:
                tensor.copy_(value)
        set_noise(self._after)
        if self.gradients:
            for p, gradient in zip(self._leaves, self._found, strict=True):
                own = self._own.get(id(p))
                if own is None or gradient is None:
                    p.grad = own if gradient is None else gradient
                else:
                    p.grad = own + gradient
            parameters = set(self.run.named.values())
            self.svi.optim(parameters)
            zero_grads(parameters)
        if isinstance(self.loss, tuple):
            return type(self.loss)(map(torch_item, self.loss))
        return torch_item(self.loss)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return equal(one, other)
