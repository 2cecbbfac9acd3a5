"""The predictive distribution of x by draws of weights and latents, and its variance by source."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pvae import unknown_labels
from pvae.checks import check_size
from pvae.evaluation.batching import MEMORY, as_batch, per_datum
from pvae.evaluation.results import described
from pvae.moments import mean, stddev
from pvae.seeds import seeded
from pvae.vae import VAE
from pvae.weights.draws import NUM_WEIGHTS, over_weights


class Predictive(NamedTuple):
    r"""The mean of each element of x, and its variance by where it comes from.

    Attributes:
        mean: E[x'], shape (n, \*event_shape); n is 1 for samples.
        weights: the variance by the uncertain weights, of the same shape: the epistemic part.
        latents: that by the latents, of the same shape.
        noise: that by the likelihood, of the same shape. This and that of the latents are the
            aleatoric part.
    """

    mean: Tensor
    weights: Tensor
    latents: Tensor
    noise: Tensor

    def __repr__(self) -> str:
        return described(self)


def predictive(
    vae: VAE,
    x: Tensor | None = None,
    y: object = None,
    *,
    num_samples: int = 20,
    num_weights: int = NUM_WEIGHTS,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> Predictive:
    r"""Return mean and variance of draws of p(x|z, w), for z from q(z|x, w) and w from q(w).

    These are of reconstructions of x; without x of samples, for which z comes from p(z|w). By the
    law of total variance, applied twice (Depeweg et al. 2018, section 3),

    .. math::
        Var[x] = Var_w E[x|w] + E_w Var_z E[x|z, w] + E_w E_z Var[x|z, w]

    z is drawn with the same noise for every w, so that the first part is not due to its draws.

    Args:
        vae: the VAE; without uncertain weights the first part is 0.
        x: shape (n, \*event_shape), in the likelihood's domain; ``None`` for samples.
        y: their labels, if the VAE has any; of samples as for `VAE.sample`.
        num_samples: draws of z for each datum and each draw of the weights.
        num_weights: draws of the weights.
        memory: approximate limit of the memory used, in MiB.
        seed: of the random draws.
        progress: whether to show a progress bar if it takes long.

    Raises:
        ValueError: if a number is below 1, or x or y are invalid for the VAE.

    Example:
        >>> import pvae, torch
        >>> from pvae.weights import Weights
        >>> vae = pvae.build((1, 8, 8), latent_dim=2, weights=Weights)
        >>> found = pvae.evaluation.predictive(vae, torch.ones(5, 1, 8, 8))
        >>> found.weights.shape
        torch.Size([5, 1, 8, 8])
    """
    check_size("num_samples", num_samples)
    check_size("num_weights", num_weights)
    with over_weights(vae, num_weights, seed) as draws:
        if x is None:
            with vae.evaluating(), seeded(seed, vae.device):
                labels = unknown_labels.each(vae, y, num_samples)

                def from_prior(vae: VAE) -> Tensor:
                    prior = vae.p_z(labels)
                    return prior.sample(torch.Size([] if prior.batch_shape else [num_samples]))

                found = _by_source(draws, from_prior, labels)
            return Predictive(*(each.unsqueeze(0) for each in found))

        def estimate(x: Tensor, y: Tensor | None) -> Predictive:
            def from_posterior(vae: VAE) -> Tensor:
                return vae.q_z(x, y).sample(torch.Size([num_samples]))

            return _by_source(draws, from_posterior, y, x)

        return per_datum(
            estimate,
            vae,
            as_batch(vae, x),
            y,
            rows=num_samples,
            memory=memory,
            seed=seed,
            progress=progress,
        )


def _by_source(
    draws: list[Callable[[], VAE]],
    draw_z: Callable[[VAE], Tensor],
    y: object,
    like: Tensor | None = None,
) -> Predictive:
    """Mean and variances over draws of the weights, and for each over the first dimension of z."""
    means, latents, noise = [], [], []
    same = int(torch.randint(2**62, ()))
    for use in draws:
        vae = use()
        with seeded(same, vae.device):
            z = draw_z(vae)
        p = vae.decode(z, y, like=like)
        of_x = mean(p)
        means.append(of_x.mean(0))
        latents.append(of_x.var(0, correction=min(1, len(z) - 1)))
        noise.append(stddev(p).square().mean(0))
    stacked = torch.stack(means)
    return Predictive(
        stacked.mean(0),
        stacked.var(0, correction=0),
        torch.stack(latents).mean(0),
        torch.stack(noise).mean(0),
    )
