"""The state-space prior."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pvae.checks import check_size, check_states
from pvae.distributions.normal_chain import NormalChain, mean_and_scale


class StateSpace(nn.Module):
    r"""A prior over T states in time, each a normal given the state before it.

    .. math::
        p(z) = N(z_1; 0, I) \prod_{t=2}^T
        N\bigl(z_t; \mu(z_{t-1}), \mathrm{diag}\, \sigma^2(z_{t-1})\bigr)

    with the gated transition of the deep Markov model (Krishnan, Shalit, Sontag 2017), in each
    dimension between a linear and a nonlinear one:

    .. math::
        \mu(z) = (1 - g) \odot (A z + a) + g \odot h, \quad
        \sigma^2(z) = \mathrm{softplus}(B\, \mathrm{relu}(h) + b), \quad
        g = \mathrm{sigmoid}(f_g(z)), \quad h = f_h(z)

    Both networks f have one hidden layer; A starts at the identity. z is one vector, the states one
    after the other, so that any posterior over real numbers works with it; the smoothing one is
    `pvae.posteriors.Smoothing`. The likelihood should see each state at its step::

        vae = pvae.build(
            (24, 5),  # 24 steps of 5 values
            latent_dim=48,
            prior=partial(pvae.priors.StateSpace, state_dim=2),
            posterior=partial(pvae.posteriors.Smoothing, state_dim=2),
            likelihood=pvae.likelihoods.Gaussian,
            network=partial(pvae.networks.GRU, state_dim=2),
        )

    A density takes one pass for all steps at once, a draw one after the other.

    Args:
        latent_dim: the number of latents d of all states together.
        state_dim: the number of latents of one state; there are T = d / state_dim states.
        hidden: size of the hidden layer of the networks.

    Raises:
        ValueError: if a size is below 1, or the latents do not divide into states.

    Example:
        >>> from pvae.priors import StateSpace
        >>> StateSpace(48, state_dim=2)().sample((5,)).shape
        torch.Size([5, 48])
    """

    start: Tensor

    def __init__(self, latent_dim: int, state_dim: int = 1, hidden: int = 64) -> None:
        super().__init__()
        self.steps = check_states(latent_dim, state_dim)
        check_size("hidden", hidden)
        if self.steps > 1:  # or there is no transition
            self.gate, self.proposal = (
                nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), nn.Linear(hidden, state_dim))
                for _ in range(2)
            )
            self.linear = nn.Linear(state_dim, state_dim)
            self.variance = nn.Linear(state_dim, state_dim)
            nn.init.eye_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        self.register_buffer("start", torch.zeros(state_dim), persistent=False)

    def transition(self) -> Callable[[Tensor], Tensor]:
        r"""Return the map from states z, (\*batch, L), to the next ones' mean and raw variance.

        Its values have the shape (\*batch, 2 L). Layers that see the same input are joined here,
        once for all steps of a draw.
        """
        first: list[Any] = [self.gate[0], self.proposal[0], self.linear]
        second: list[Any] = [self.gate[-1], self.proposal[-1]]
        weight = torch.cat([layer.weight for layer in first])
        bias = torch.cat([layer.bias for layer in first])
        weight_2 = torch.block_diag(*(layer.weight for layer in second))
        bias_2 = torch.cat([layer.bias for layer in second])
        state_dim = len(self.start)

        def transition(z: Tensor) -> Tensor:
            hidden, straight = linear(z, weight, bias).tensor_split([-state_dim], -1)
            g, h = linear(hidden.relu(), weight_2, bias_2).chunk(2, -1)
            return torch.cat([straight.lerp(h, g.sigmoid()), self.variance(h.relu())], -1)

        return transition

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        scale = torch.ones_like(self.start)
        if self.steps == 1:
            return NormalChain(None, self.start, scale, 1)
        raw = self.transition()
        return NormalChain(lambda z: mean_and_scale(raw(z)), self.start, scale, self.steps)
