"""Draws of uncertain weights, one after the other in the parameters of the VAE."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae.checks import is_whole
from pvae.seeds import seeded
from pvae.weights.weights import put

NUM_WEIGHTS = 10  # draws of the weights that an average is over
OWN = 0x2545F4914F6CDD1D  # any bits


def uncertain(vae: Any, part: str = "") -> bool:
    """Whether a VAE has uncertain weights, in a part if one is named, not held at a draw."""
    if vae.weights is None or vae.weights.fixed:
        return False
    return not part or any(name.startswith(f"{part}.") for name in vae.weights.names)


@contextmanager
def over_weights(
    vae: Any, num_weights: int = NUM_WEIGHTS, seed: int | None = None
) -> Iterator[list[Any]]:
    """Draws of the weights of a VAE, for estimates that average over them.

    Each draw is a function that puts its weights into the parameters of the VAE. While entered, the
    programs and methods of the VAE take these parameters; the medians are restored at the end. So
    any estimator is one given weights, whether they are draws of an autoguide, of a sampler or the
    members of an ensemble. A VAE without uncertain weights has one draw, which does nothing.

    Args:
        vae: the VAE.
        num_weights: the number of draws; at most as many as a sampler has left.
        seed: of the draws; ``None`` for torch's random state.

    Yields:
        The functions, in the order of the draws.

    Example:
        >>> import pvae, torch
        >>> from pvae.weights import Weights, over_weights
        >>> vae = pvae.build((1, 8, 8), latent_dim=2, weights=Weights)
        >>> with over_weights(vae, 5, seed=0) as draws, torch.no_grad():
        ...     means = [draw().decode(torch.zeros(1, 2)).mean for draw in draws]
        >>> len(means)
        5
    """
    if not uncertain(vae):
        yield [lambda: vae]
        return
    weights = vae.weights
    if is_whole(seed):
        seed ^= OWN  # of other draws than those of the latents by the same seed
    with torch.no_grad(), seeded(seed, vae.device):
        found = list(weights.draws(num_weights))
    centre = {name: vae.get_parameter(name).detach().clone() for name in weights.names}

    def use(values: dict[str, Tensor]) -> Any:
        put(vae, values)
        return vae

    weights.fixed = True
    try:
        yield [lambda values=values: use(values) for values in found]
    finally:
        weights.fixed = False
        put(vae, centre)


def classify_over(vae: Any, x: Tensor) -> dist.TorchDistribution:
    """The mean of q(y|x) over draws of the weights."""
    with over_weights(vae, seed=0) as draws:
        return dist.Categorical(torch.stack([use().classify(x).probs for use in draws]).mean(0))


def reconstruct_over(vae: Any, x: Tensor, y: object, draw: bool) -> Tensor:
    """The mean of the reconstructions over draws of the weights, or a draw of them."""
    with over_weights(vae, 1 if draw else NUM_WEIGHTS, None if draw else 0) as draws:
        return torch.stack([use().reconstruct(x, y, draw) for use in draws]).mean(0)


def sample_over(vae: Any, n: int, y: Any, seed: int | None, draw: bool) -> Tensor:
    """Samples of a VAE with draws of its weights, each of them for a part of the samples."""
    if vae.labels is not None and y is not None:
        y = vae.labels.each(y, n)
    with seeded(seed, vae.device), over_weights(vae, min(n, NUM_WEIGHTS)) as draws:
        parts = torch.arange(n).tensor_split(len(draws))
        labels = [None if y is None else y[part] for part in parts]
        found = [
            use().sample(len(part), label, draw=draw)
            for use, part, label in zip(draws, parts, labels, strict=True)
            if len(part)
        ]
    return torch.cat(found)
