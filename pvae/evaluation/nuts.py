"""Sampling the exact posterior of a few data by the No-U-Turn sampler."""

from typing import NamedTuple

import pyro
import torch
from pyro.infer import MCMC, NUTS
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor

from pvae.checks import check_size
from pvae.evaluation.ais import Path
from pvae.evaluation.batching import MEMORY, Count, counted, per_datum, rows_within
from pvae.evaluation.results import described
from pvae.evaluation.unconstrained import latents
from pvae.vae import VAE

ANNEALING_RUNS, ANNEALING_STEPS, ANNEALING_LEAPFROG = 64, 100, 5


class Samples(NamedTuple):
    """Draws from the posterior of each datum, with diagnostics.

    Attributes:
        z: draws from p(z|x), chain after chain, shape (n, num_chains * num_samples, d).
        r_hat: the scale of all draws over that within half chains (Gelman and Rubin 1992), of the
            worst latent, shape (n,): above about 1.01 they have not mixed.
        effective_sample_size: the equivalent number of independent draws, for the mean of the worst
            latent, shape (n,).
        divergences: the number of divergent trajectories, shape (n,): above 0, a part of the
            posterior may be missing.
    """

    z: Tensor
    r_hat: Tensor
    effective_sample_size: Tensor
    divergences: Tensor

    def __repr__(self) -> str:
        return described(self)


def posterior_samples(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_samples: int = 500,
    warmup_steps: int = 300,
    num_chains: int = 2,
    seed: int = 0,
    progress: bool = True,
) -> Samples:
    r"""Sample p(z|x) for a few data, without the guide.

    The chains are those of the No-U-Turn sampler (Hoffman and Gelman 2014), Pyro's, on

    .. math::
        \log p(z) + \log p(x|z).

    Chains rarely cross between modes. So they start at draws from 64 runs of annealed importance
    sampling of 100 steps (see `ais`), resampled by their weights: each mode then has about as many
    chains as its share of the posterior. In the warm-up each chain adapts its step size and the
    scale of each latent. A draw takes tens of gradients, and a datum seconds: use it to check a
    guide on a few data.

    A hierarchical VAE is sampled over all its levels jointly, and z is the lowest; latents on the
    sphere are sampled as directions of normal vectors.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_samples: the number of draws of each chain, at least 4.
        warmup_steps: the number of warm-up draws, which are dropped.
        num_chains: chains of each datum; `r_hat` detects modes that some do not reach.
        seed: of the random draws.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if x or y is invalid for the VAE, a number is too small, or the latents are
            discrete.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> x = torch.ones(1, 1, 8, 8)
        >>> pvae.evaluation.posterior_samples(vae, x, num_samples=4, warmup_steps=2).z.shape
        torch.Size([1, 8, 2])
    """
    if check_size("num_samples", num_samples) < 4:
        raise ValueError(f"num_samples is {num_samples}: half a chain has at least 2 draws, so 4.")
    check_size("warmup_steps", warmup_steps)
    check_size("num_chains", num_chains)

    def estimate(x: Tensor, y: Tensor | None) -> Samples:
        # A diverging trajectory is rejected, not an error.
        with pyro.validation_enabled(False):
            base = latents(vae, y)

            def energy(at: dict[str, Tensor]) -> Tensor:
                p = vae.decode(base.z(at["u"]), y, like=x)
                return -(base.log_prob(at["u"]) + p.log_prob(x)).sum()

            with counted(0, progress=False) as silent:
                starts = _annealed(vae, x, y, num_chains, silent)
            chains, divergences = [], 0
            draws = num_chains * (warmup_steps + num_samples)
            with torch.enable_grad(), counted(draws, progress, "draws") as shown:
                for start in starts:
                    mcmc = MCMC(
                        NUTS(potential_fn=energy),
                        num_samples,
                        warmup_steps,
                        initial_params={"u": start},
                        hook_fn=lambda *_: shown.update(),
                        disable_progbar=True,
                    )
                    mcmc.run()
                    chains.append(mcmc.get_samples()["u"].squeeze(1))
                    divergences += len(mcmc.diagnostics()["divergences"]["chain 0"])
            z = base.z(torch.stack(chains))
        r_hat, size = split_gelman_rubin(z).max(), effective_sample_size(z).min()
        count = torch.tensor(divergences, device=z.device)
        return Samples(z.flatten(0, 1)[None], r_hat[None], size[None], count[None])

    # One datum at a time: chains of several would share a step size.
    alone = rows_within(vae, MEMORY)
    return per_datum(estimate, vae, x, y, rows=alone, seed=seed, progress=progress)


def _annealed(vae: VAE, x: Tensor, y: Tensor | None, num_chains: int, silent: Count) -> Tensor:
    """Initial positions of chains for one datum, u of shape (num_chains, 1, dim)."""
    path = Path(vae, x, y, x, ANNEALING_STEPS, ANNEALING_LEAPFROG)
    path.adapt(ANNEALING_RUNS, silent)
    log_w, _, u = path.run(path.start(ANNEALING_RUNS), silent)
    chosen = torch.distributions.Categorical(logits=log_w[:, 0]).sample((num_chains,))
    return u[chosen]
