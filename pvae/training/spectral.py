"""A limit on the spectral norms of layers."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from pvae.inference.optimizer import Projection

SQUARINGS = 5  # for a bound that is above the norm of a matrix of rank r by at most r^(1/128)


def limited(vae: nn.Module, limit: float | None) -> Projection | None:
    r"""Return a function that limits the spectral norm of the layers of a VAE.

    .. math::
        W \leftarrow W / \max(1, s(W) / \lambda), \qquad \|W\|_2 \le s(W)

    after each step (Gouk et al. 2021), for the learned weights of all linear layers and
    convolutions, these as matrices with a row for each output channel (Miyato et al. 2018). So no
    layer of a deep network amplifies a difference of its inputs by more than :math:`\lambda`; a
    convolution of k × k weights by k times that.

    Args:
        vae: the VAE.
        limit: lambda; ``None`` for no limit.
    """
    kinds = nn.Linear, _ConvNd
    layers = [module for module in vae.modules() if isinstance(module, kinds)]
    weights = [w for w in (layer.get_parameter("weight") for layer in layers) if w.requires_grad]
    return None if limit is None else partial(_shrink, weights, limit)


def _shrink(weights: Sequence[Tensor], limit: float) -> None:
    with torch.no_grad():
        for weight in weights:
            weight.mul_((limit / spectral_bound(weight)).clamp(max=1))


def spectral_bound(weight: Tensor) -> Tensor:
    r"""Bound the spectral norm of a matrix from above, by few percent (Delattre et al. 2023).

    .. math::
        \|W\|_2 \le \|G_k\|_F^{1 / 2^k}, \qquad G_1 = W W^T, \quad G_{j+1} = G_j G_j^T

    It needs neither a singular value decomposition nor, as power iteration does, a vector to keep
    between steps.

    Args:
        weight: of two or more dimensions, of which all but the first are joined.
    """
    matrix = weight.flatten(1)
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    log_bound, power = torch.zeros_like(gram[0, 0]), 0.5
    for _ in range(SQUARINGS):
        norm = gram.norm().clamp_min(torch.finfo(gram.dtype).tiny)
        log_bound, gram = log_bound + power * norm.log(), gram / norm
        gram, power = gram @ gram, power / 2
    return (log_bound + power * gram.norm().log()).exp()
