"""The maximum mean discrepancy between two sets of points."""

from functools import reduce
from operator import add

import torch
from torch import Tensor

KERNELS = ("imq", "rbf")
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(x: Tensor, y: Tensor, kernel: str, width: Tensor | float, shares: Tensor) -> Tensor:
    r"""Estimate the squared maximum mean discrepancy without bias (Gretton et al. 2012).

    .. math::
        \frac{1}{s} \sum_{i \ne j} w_i w_j\, \bigl(k(x_i, x_j) + k(y_i, y_j)\bigr)
        - 2 \sum_{i, j} w_i w_j\, k(x_i, y_j), \quad s = \sum_{i \ne j} w_i w_j,

    for points of shares w_i, which sum to 1. It is zero on average where both are of one
    distribution, and so may be negative; and zero if one point has the whole share.

    ======  =====================================================================================
    kernel  k(x, y) with c the width
    ======  =====================================================================================
    rbf     exp(−‖x − y‖² / c)
    imq     sum over s of s c / (s c + ‖x − y‖²), s from 0.1 to 10 (Tolstikhin et al. 2018)
    ======  =====================================================================================

    Args:
        x: shape (n, d).
        y: the same shape.
        kernel: ``"rbf"`` or ``"imq"``.
        width: c, in the units of squared distances.
        shares: w of the points of x, and of those of y, shape (n,).

    Example:
        >>> import torch
        >>> from pvae.objectives.mmd import mmd
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> bool(mmd(x, x + 9, "rbf", 2.0, shares=torch.tensor([0.5, 0.5])) > 1)
        True
    """
    of_x, of_y, across = (
        _kernel(squared_distances(a, b), kernel, width) for a, b in ((x, x), (y, y), (x, y))
    )
    within = mean_of_pairs(of_x + of_y, shares)
    return torch.where((shares < 1).all(), within - 2 * shares @ across @ shares, 0)


def mean_of_pairs(table: Tensor, shares: Tensor) -> Tensor:
    """The mean over pairs of different points of a table of shape (n, n)."""
    others = 1 - torch.eye(len(shares), dtype=table.dtype, device=table.device)
    pairs = shares.outer(shares) * others
    return (pairs * table).sum() / pairs.sum().clamp_min(torch.finfo(table.dtype).tiny)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """All squared distances between points of shape (n, d) and (m, d), shape (n, m)."""
    return (x.unsqueeze(1) - y).square().sum(-1)


def _kernel(distances: Tensor, kernel: str, width: Tensor | float) -> Tensor:
    if kernel == "rbf":
        return (-distances / width).exp()
    return reduce(add, (s * width / (s * width + distances) for s in SCALES))
