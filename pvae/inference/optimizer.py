"""A Pyro optimizer that is one torch optimizer for all parameters."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor, nn

from pvae.inference.fused_adam import Stepper

FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
Projection = Callable[[], None]


class Optimizer(PyroOptim):
    """A Pyro optimizer that is a single torch optimizer over all parameters.

    `PyroOptim` makes a torch optimizer for every parameter. A single one is faster, can be fused,
    clips by the norm of the whole gradient, and saves as one state.

    SVI sums the loss over a minibatch. Gradients are divided by ``batch_size`` first, so learning
    rate and clipping mean the same whatever the size of the minibatch.

    Args:
        parameters: the parameters to optimize; frozen ones are skipped.
        factory: makes a torch optimizer from parameters: a class, or a `functools.partial`.
        clip_norm: maximum norm of the gradient of the mean loss; ``None`` for no clipping.
        skip_norm: norm of that gradient, before clipping, above which a step is skipped: nothing
            is updated, the moments of the optimizer neither (Child 2021); ``None`` to
            skip none.
        project: called after each step that is taken, to move parameters back to where they may be;
            ``None`` if they may be anywhere.

    Attributes:
        torch_optimizer: the torch optimizer, for learning-rate schedules.
        batch_size: the number of data that the loss is summed over.
        moved: how often its state has been replaced.
        skipped: how many steps have been skipped.

    Raises:
        ValueError: if nothing is to be optimized, a norm is not positive, or the optimizer needs a
            closure.

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
        skip_norm: float | None = None,
        project: Projection | None = None,
    ) -> None:
        super().__init__(factory, {})
        # SVI hands over an unordered set at every step; this order is the same in every process,
        # which the sum in a norm and the index in a saved state depend on.
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise ValueError("There is nothing to optimize: every parameter is frozen.")
        for name, norm in (("clip_norm", clip_norm), ("skip_norm", skip_norm)):
            if norm is not None and not norm > 0:
                raise ValueError(f"{name} is {norm}: it must be positive.")
        self.clip_norm, self.skip_norm = clip_norm, skip_norm
        self.project = project
        self.skipped = 0
        self.batch_size = 1
        self.moved = 0
        self._forms = forms(factory, self.parameters)
        self.torch_optimizer = factory(self.parameters, **self._forms)
        place_rates(self.torch_optimizer)
        self._stepper = Stepper(self.torch_optimizer)
        check_closure(self.torch_optimizer)

    def __call__(self, params: Iterable[torch.Tensor], *args: Any, **kwargs: Any) -> None:
        """Take one step with the gradients that SVI has accumulated."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.batch_size != 1:
            torch._foreach_div_(gradients, self.batch_size)
        self.update()

    def update(self) -> None:
        """Take one step with gradients of the mean loss."""
        if self.skip_norm is not None:
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            if not float(nn.utils.get_total_norm(gradients)) <= self.skip_norm:  # or NaN
                self.skipped += 1
                return
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self._stepper.step()
        if self.project is not None:
            self.project()

    def get_state(self) -> dict:
        """Return the state of the torch optimizer."""
        return self.torch_optimizer.state_dict()

    def set_state(self, state_dict: dict) -> None:
        """Continue from the state of a torch optimizer, on this device or another."""
        self.torch_optimizer.load_state_dict(state_dict)
        for group in self.torch_optimizer.param_groups:
            group |= self._forms
        place_rates(self.torch_optimizer)
        self.reset()

    def reset(self) -> None:
        """Signal that tensors of the state were replaced."""
        self._stepper.reset()
        self.moved += 1


def check_closure(optimizer: torch.optim.Optimizer) -> None:
    """Raise if an optimizer evaluates the loss itself.

    Raises:
        ValueError: if it does.
    """
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ValueError(
            f"{type(optimizer).__name__} evaluates the loss several times a step, which stochastic "
            "gradients do not allow: choose an optimizer such as Adam."
        )


def forms(factory: Callable[..., Any], parameters: Sequence[Tensor]) -> dict[str, bool]:
    """The fast forms that a torch optimizer has, unless another was asked for.

    Fused where that exists on every device, and on CUDA such as a CUDA graph can hold.
    """
    try:
        default = {k: p.default for k, p in inspect.signature(factory).parameters.items()}
    except (TypeError, ValueError):
        return {}
    chosen = {}
    asked = default.get("foreach") or default.get("differentiable")
    real = all(p.is_floating_point() for p in parameters)
    if (
        getattr(factory, "func", factory) in FUSED
        and default["fused"] is None
        and real
        and not asked
    ):
        chosen["fused"] = True
    if "capturable" in default and all(p.is_cuda for p in parameters):
        chosen["capturable"] = True
    return chosen


def fit_states(optimizer: torch.optim.Optimizer) -> None:
    """Convert moments to the dtype, device and shape of their parameters.

    Fused kernels assume that they match.
    """
    for parameter, state in optimizer.state.items():
        moments = {n: m for n, m in state.items() if torch.is_tensor(m) and m.dim()}
        if any(m.shape != parameter.shape for m in moments.values()):
            state.clear()  # of another parameter, in effect
            continue
        state |= {
            name: moment.to(parameter)
            if moment.stride() == parameter.stride()
            else torch.empty_like(parameter).copy_(moment)
            for name, moment in moments.items()
        }


def place_rates(optimizer: torch.optim.Optimizer) -> None:
    """Keep learning rates on the device where a CUDA graph reads them."""
    for group in optimizer.param_groups:
        if group.get("capturable"):
            device = group["params"][0].device
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32).to(device)
