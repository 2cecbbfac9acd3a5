"""One torch optimizer for all parameters, where Pyro expects one of its own."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import nn

FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class Optimizer(PyroOptim):
    """A Pyro optimizer that is a single torch optimizer over all parameters.

    `PyroOptim` makes a torch optimizer for every parameter. A single one is faster, can be fused,
    clips by the norm of the whole gradient, and saves as one state.

    SVI sums the loss over a minibatch. Gradients are divided by ``batch_size`` first, so learning
    rate and clipping mean the same whatever the size of the minibatch.

    Args:
        parameters: what to optimize; frozen parameters are passed over.
        factory: makes a torch optimizer from parameters: a class, or a `functools.partial`.
        clip_norm: largest norm of the gradient of the mean loss; ``None`` for no clipping.

    Attributes:
        torch_optimizer: the torch optimizer, for learning-rate schedules.
        batch_size: the number of data that the loss is summed over.

    Raises:
        ValueError: if nothing is to be optimized, clip_norm is not positive, or the optimizer
            needs a closure.

    Example:
        >>> import pyro, torch
        >>> import pvae
        >>> from pvae.inference import Optimizer
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> optim = Optimizer(vae.parameters(), torch.optim.Adam)
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, optim, pyro.infer.Trace_ELBO())
        >>> optim.batch_size = 5
        >>> loss = svi.step(torch.ones(5, 1, 8, 8))
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        factory: Callable[..., torch.optim.Optimizer],
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(factory, {})
        # SVI hands over an unordered set at every step; this order is the same in every process,
        # which the sum in a norm and the index in a saved state depend on.
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise ValueError("There is nothing to optimize: every parameter is frozen.")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm is {clip_norm}: it must be positive.")
        self.clip_norm = clip_norm
        self.batch_size = 1
        self.torch_optimizer = factory(self.parameters, **_fused(factory))
        closure = inspect.signature(self.torch_optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty:
            raise ValueError(
                f"{type(self.torch_optimizer).__name__} evaluates the loss several times a step, "
                "which stochastic gradients do not allow: choose an optimizer such as Adam."
            )

    def __call__(self, params: Iterable[torch.Tensor], *args: Any, **kwargs: Any) -> None:
        """Take one step with the gradients that SVI has accumulated."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.batch_size != 1:
            torch._foreach_div_(gradients, self.batch_size)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.torch_optimizer.step()

    def get_state(self) -> dict:
        """Return the state of the torch optimizer."""
        return self.torch_optimizer.state_dict()

    def set_state(self, state_dict: dict) -> None:
        """Continue from the state of a torch optimizer."""
        self.torch_optimizer.load_state_dict(state_dict)


def _fused(factory: Callable[..., torch.optim.Optimizer]) -> dict[str, bool]:
    """Ask for the fused form where it exists on every device, unless another was asked for."""
    if getattr(factory, "func", factory) not in FUSED:
        return {}
    default = {k: p.default for k, p in inspect.signature(factory).parameters.items()}
    if default["fused"] is not None or default["foreach"] or default["differentiable"]:
        return {}
    return {"fused": True}
