"""The KL of each level of a hierarchical VAE."""

from typing import NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae.checks import check_size
from pvae.distributions import TopDown
from pvae.distributions.top_down import level_kl
from pvae.evaluation.batching import MEMORY, per_datum, portions, rows_within
from pvae.evaluation.results import described
from pvae.marginal import Marginal
from pvae.vae import VAE


class LevelKL(NamedTuple):
    """The KL of each level, in nats.

    Attributes:
        kl: of each datum and level, from the top down, shape (n, L).
    """

    kl: Tensor

    def __repr__(self) -> str:
        each = ", ".join(f"{value:.2f}" for value in self.kl.double().mean(0).tolist())
        return described(self, f"KL of {self.kl.shape[1]} levels from the top down: {each} nats")


def kl_by_level(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_samples: int = 10,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> LevelKL:
    r"""Split the KL of the ELBO into those of the levels of a hierarchy.

    .. math::
        KL(q(z|x) \,\|\, p(z)) = \sum_{l=1}^L
        E_{q(z|x)}\bigl[KL(q(z_l | z_{<l}, x) \,\|\, p(z_l | z_{<l}))\bigr]

    A level whose KL is near 0 is unused. For a `pvae.priors.TopDown` with its posterior each term
    is in closed form given the levels above it, which are drawn. For a `pvae.priors.Nested` the
    levels are drawn from the bottom up, and a term is log q(z|x) - log p(z|u), and KL(q(u|z) ||
    p(u)) for the level above it, and so on. Any other VAE has one level.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_samples: draws of z for each datum.
        memory: approximate limit of the memory used, in MiB.
        seed: of the draws.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if x or y is invalid for the VAE, num_samples is below 1, or the posterior is a
            point mass, other than one at codes.

    Example:
        >>> import torch
        >>> import pvae
        >>> from functools import partial
        >>> prior = partial(pvae.priors.TopDown, levels=[2, 4])
        >>> vae = pvae.build((1, 8, 8), 6, prior=prior, posterior=pvae.posteriors.TopDown)
        >>> pvae.evaluation.kl_by_level(vae, torch.ones(5, 1, 8, 8)).kl.shape
        torch.Size([5, 2])
    """
    check_size("num_samples", num_samples)

    def estimate(x: Tensor, y: Tensor | None) -> LevelKL:
        q, p = vae.encode(x, y), vae.p_z(y)
        if type(q) is dist.Delta:  # a point at codes has a mass
            raise ValueError(
                f"The posterior {type(vae.posterior).__name__} is a point mass, whose KL to a "
                "prior is infinite."
            )
        most = max(1, rows_within(vae, memory) // len(x))
        found = [_levels(q, p, draws).sum(0) for draws in portions(num_samples, most)]
        return LevelKL(torch.stack(found).sum(0) / num_samples)

    return per_datum(
        estimate, vae, x, y, rows=num_samples, memory=memory, seed=seed, progress=progress
    )


def levels_of(p: dist.TorchDistribution) -> int:
    """The number of levels of a prior."""
    if isinstance(p, Marginal):
        return 1 + levels_of(p.vae.prior())
    return len(p.path.sizes) if isinstance(p, TopDown) else 1


def _levels(q: dist.TorchDistribution, p: dist.TorchDistribution, draws: int) -> Tensor:
    """The KL of each level at draws of q, shape (draws, n, L)."""
    if isinstance(q, TopDown) and isinstance(p, TopDown):
        return level_kl(q.expand((draws, *q.batch_shape)), p)
    z = q.sample((draws,))
    if not isinstance(p, Marginal):
        return (q.log_prob(z) - p.log_prob(z)).unsqueeze(-1)
    q_above, p_above = p.vae.q_z(z), p.vae.prior()
    # Draws of the levels above, and their KL at these draws.
    above = _levels(q_above, p_above, 1)[0]
    below = q.log_prob(z) - p.vae.decode(q_above.sample(), like=z).log_prob(z)
    return torch.cat([above, below.unsqueeze(-1)], -1)
