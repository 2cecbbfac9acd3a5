"""The mean ELBO and its terms on a part of the data."""

import math

import torch

from pvae.checks import check_size
from pvae.data.batches import AT_ONCE, Batches, batches_for
from pvae.data.dataset import Dataset
from pvae.data.domains import DEQUANTIZED
from pvae.data.part import Part
from pvae.evaluation.batching import check_vae
from pvae.evaluation.elbo import elbo
from pvae.messages import kind_of
from pvae.seeds import choice, seeded
from pvae.vae import VAE


def evaluate(
    vae: VAE, data: Dataset, part: str = "test", batch_size: int = AT_ONCE, seed: int = 0
) -> dict[str, float]:
    """Average the ELBO and its terms over a part of the data.

    Dropout is off. Random draws (z, and dynamic binarization) depend only on the seed, and torch's
    random state is restored.

    Args:
        vae: the VAE.
        data: the data set.
        part: train, validation or test.
        batch_size: data taken at once.
        seed: of the random draws.

    Returns:
        ``neg_elbo``, ``log_likelihood`` and ``kl`` in nats per datum and, if the data are bytes and
        the likelihood has a density or mass for them, ``bits_per_dim``.

    Raises:
        ValueError: if the data set has no such part, or the likelihood another domain.

    Example:
        >>> import pvae
        >>> data = pvae.data.load("digits")
        >>> vae = pvae.build(data.event_shape, latent_dim=2)
        >>> sorted(pvae.evaluation.evaluate(vae, data))
        ['kl', 'log_likelihood', 'neg_elbo']
    """
    check_vae(vae)
    held = part_of(data, part)
    batches = batches_for(vae, data, held, check_size("batch_size", batch_size))
    return summarize(vae, batches, seed=seed)


def part_of(data: Dataset, part: str) -> Part:
    """Return the part with this name.

    Raises:
        TypeError: if the data are not a data set.
        ValueError: if there is no such part.
    """
    if not isinstance(data, Dataset):
        raise TypeError(
            f"data is {kind_of(data)}: expected a data set, as pvae.data.load(...) returns."
        )
    return data.part(part)


def summarize(vae: VAE, batches: Batches, seed: int = 0, items: int | None = None) -> dict:
    """Average the ELBO and its terms over minibatches, as `evaluate` does.

    Args:
        vae: the VAE.
        batches: the minibatches.
        seed: of the random draws.
        items: the number of data, a fixed random choice; ``None`` for all.
    """
    order = None
    if items is not None and items < len(batches.part):
        order = choice(len(batches.part), items, seed)
    total = torch.zeros(3, dtype=torch.float64, device=vae.device)
    count = 0
    with vae.evaluating(), seeded(seed, vae.device):
        for arguments in batches.arguments(order):
            given = arguments if vae.classifier is None else arguments[:1]
            total += torch.stack([part.double().sum() for part in elbo(vae, *given)])
            count += len(arguments[0])
    bound, log_likelihood, kl = (total / count).tolist()
    figures = {"neg_elbo": -bound, "log_likelihood": log_likelihood, "kl": kl}
    bits = bits_per_dim(-bound, vae, batches)
    return figures if bits is None else {**figures, "bits_per_dim": bits}


def bits_per_dim(nats: float, vae: VAE, batches: Batches) -> float | None:
    """The bits per element of an ideal code for the bytes, or None if it is not defined.

    A density of dequantized bytes (x + u) / levels, less log(levels) nats per element, bounds the
    log-probability of the bytes (Theis, van den Oord, Bethge 2016).
    """
    levels = batches.dataset.levels
    if levels is None or vae.likelihood.domain not in ("bytes", *DEQUANTIZED):
        return None
    nats /= math.prod(vae.event_shape)
    if vae.likelihood.domain in DEQUANTIZED:
        nats += math.log(levels)
    return nats / math.log(2)
