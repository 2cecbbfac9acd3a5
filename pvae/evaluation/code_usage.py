"""How many codes of a discrete posterior are in use."""

from typing import NamedTuple

import torch
from torch import Tensor

from pvae.distributions import Codes
from pvae.evaluation.batching import MEMORY, per_datum
from pvae.interfaces import option
from pvae.vae import VAE


class CodeUsage(NamedTuple):
    """How often codes occur.

    Attributes:
        counts: how often each code occurs, over all data and positions, shape (K,).
        usage: the share of the codes that occur at all.
        perplexity: the exponential of the entropy of their frequencies: the number of codes that
            would be as informative if they were equally frequent.
    """

    counts: Tensor
    usage: float
    perplexity: float


def code_usage(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    memory: float = MEMORY,
    progress: bool = True,
) -> CodeUsage:
    r"""Count the codes of data, for a posterior such as `pvae.posteriors.VQ`.

    With f the frequencies of the codes over all data and positions, the perplexity is

    .. math::
        \exp\Big( -\sum_k f_k \log f_k \Big).

    The codes that occur in few data are few: with fewer positions than codes, over all data, not
    all of them can occur.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        memory: about how much to hold, in MiB.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if the posterior has no codes, or x or y is invalid for the VAE.

    Example:
        >>> import pvae, torch
        >>> vae = pvae.build(
        ...     (1, 8, 8), 6, prior=pvae.priors.UniformCodes, posterior=pvae.posteriors.VQ
        ... )
        >>> int(pvae.evaluation.code_usage(vae, torch.ones(5, 1, 8, 8)).counts.sum())
        5
    """
    codes: Codes | None = option(vae.posterior, "codes")
    if codes is None:
        raise ValueError(
            f"The posterior {type(vae.posterior).__name__} has no codes to count: take one of "
            "codes, such as pvae.posteriors.VQ."
        )

    def estimate(x: Tensor, y: Tensor | None) -> _Indices:
        return _Indices(codes.indices(vae.encode(x, y).mean))

    (indices,) = per_datum(
        estimate, vae, x, y, rows=codes.positions, memory=memory, progress=progress
    )
    counts = torch.bincount(indices.flatten(), minlength=codes.size)
    f = counts.double() / counts.sum()
    return CodeUsage(
        counts, float((counts > 0).double().mean()), float(torch.special.entr(f).sum().exp())
    )


class _Indices(NamedTuple):
    indices: Tensor
