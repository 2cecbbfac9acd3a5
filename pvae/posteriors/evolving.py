"""Base class of posteriors whose draws follow the gradient of log p(x, z)."""

import math
from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_number, check_size
from pvae.conditional import Conditional
from pvae.data.domains import BYTE_LEVELS
from pvae.distributions.evolved import Evolved
from pvae.interfaces import option

LogDensity = Callable[[Tensor], Tensor]
Slopes = tuple[Tensor, ...]
Force = Callable[..., Tensor]


class Evolving(Conditional):
    r"""Base class of posteriors whose draws begin at a diagonal normal and follow Hamilton's steps.

    `pvae.VAE` calls `connect` with prior and likelihood. Their weights are shared, not owned:
    gradients reach them through the steps as well, but they are not parameters of the posterior.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d,): a module, or a factory; ``None`` for an `MLP`.
        steps: the number of leapfrog steps.
        step_size: their first size; it is learned, for each latent.

    Raises:
        ValueError: if a size is below 1, the step size is not positive, or the network does not
            fit; and when it is called, if the likelihood takes other data than it.
        RuntimeError: if it is called before it is connected.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None,
        steps: int,
        step_size: float,
    ) -> None:
        super().__init__(event_shape, (latent_dim,), outputs=2, network=network)
        self.steps = check_size("steps", steps)
        if not 0 < check_number("step_size", step_size) < float("inf"):
            raise ValueError(f"step_size is {step_size}: it must be a positive number.")
        self.log_step_size = nn.Parameter(torch.full((latent_dim,), math.log(step_size)))
        # A tuple hides the parts from torch, and so from parameters and state_dict.
        self._parts: tuple[nn.Module, ...] = ()

    def connect(self, prior: nn.Module, likelihood: nn.Module) -> None:
        """Set the prior and likelihood whose joint density draws follow."""
        if option(prior, "connect"):
            raise ValueError(
                f"The prior {type(prior).__name__} is made of its posterior, and the posterior "
                f"{type(self).__name__} of its prior: choose another pair over the same z."
            )
        own = {"event_shape": self.context_shape, "context_shape": self.event_shape}
        for name, shape in own.items():
            other = option(likelihood, name)
            if other is not None and tuple(other) != tuple(shape):
                raise ValueError(
                    f"The posterior {type(self).__name__} scores x by the likelihood, whose {name} "
                    f"is {tuple(other)} and must be {tuple(shape)}: it does not take labels."
                )
        self._parts = prior, likelihood

    def evolve(self, z: Tensor, log_q: LogDensity, log_joint: LogDensity) -> tuple[Tensor, Tensor]:
        r"""Move draws of the normal, and score their paths, see `pvae.distributions.Evolved`.

        Args:
            z: draws, shape (\*batch, d).
            log_q: the log-density of the normal.
            log_joint: log p(x, z).
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        if not self._parts:
            name = type(self).__name__
            raise RuntimeError(
                f"A {name} posterior follows a model: connect(prior, likelihood) it."
            )
        prior, likelihood = self._parts
        loc, log_scale = self.raw(x)
        base = dist.Normal(loc, log_scale.exp()).to_event(1)

        data = unscaled(x, likelihood)
        total = {}
        if option(likelihood, "takes_total"):
            total = {"total": data.flatten(data.dim() - len(self.context_shape)).sum(-1)}

        def log_joint(z: Tensor) -> Tensor:
            p = likelihood(z, **total)
            try:
                scored = p.log_prob(data)
            except ValueError as error:
                raise ValueError(
                    f"The posterior {type(self).__name__} scores x by the likelihood "
                    f"{type(likelihood).__name__}, and x is outside of its domain, as added noise "
                    "may move it: choose another posterior, or no noise."
                ) from error
            return prior().log_prob(z) + scored

        return Evolved(base, lambda z: self.evolve(z, base.log_prob, log_joint))

    def leapfrog(
        self, z: Tensor, v: Tensor, at_z: Slopes, slopes: Callable[[Tensor], Slopes], force: Force
    ) -> tuple[Tensor, Tensor, Slopes]:
        """One step of position and momentum.

        Args:
            z: the position.
            v: the momentum.
            at_z: the gradients at z, which the step before has computed.
            slopes: maps a position to the gradients there.
            force: maps them to that of the log-density that is followed.

        Returns:
            The new position and momentum, and the gradients at the new position.
        """
        size = self.log_step_size.exp()
        v = v + size / 2 * force(*at_z)
        z = z + size * v
        at_z = slopes(z)
        return z, v + size / 2 * force(*at_z), at_z


def unscaled(x: Tensor, likelihood: nn.Module) -> Tensor:
    """The data of which these are the features, see `pvae.VAE.features`."""
    domain = option(likelihood, "domain")
    if domain == "bytes":
        return (x * ((option(likelihood, "levels") or BYTE_LEVELS) - 1)).round()
    return x.expm1().round() if domain == "counts" else x


def slope(log_density: LogDensity, z: Tensor) -> Tensor:
    """The gradient of a log-density, itself differentiable if gradients are enabled."""
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        at = z if wanted and z.requires_grad else z.detach().requires_grad_()
        (found,) = torch.autograd.grad(log_density(at).sum(), at, create_graph=wanted)
    return found


def log_standard(v: Tensor) -> Tensor:
    """The log-density of N(0, I)."""
    return -0.5 * (v.square() + math.log(2 * math.pi)).sum(-1)
