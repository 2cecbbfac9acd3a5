"""The maximum mean discrepancy between two sets of points."""

from functools import reduce
from operator import add

import torch
from torch import Tensor

KERNELS = ("imq", "rbf")
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(x: Tensor, y: Tensor, kernel: str, width: Tensor | float) -> Tensor:
    r"""Estimate the squared maximum mean discrepancy without bias (Gretton et al. 2012).

    .. math::
        \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n(n-1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac{2}{n^2} \sum_{i, j} k(x_i, y_j)

    It is zero on average where both are of one distribution, and so may be negative.

    ======  =====================================================================================
    kernel  k(x, y) with c the width
    ======  =====================================================================================
    rbf     exp(−‖x − y‖² / c)
    imq     sum over s of s c / (s c + ‖x − y‖²), s from 0.1 to 10 (Tolstikhin et al. 2018)
    ======  =====================================================================================

    Args:
        x: shape (n, d), n at least 2.
        y: the same shape.
        kernel: ``"rbf"`` or ``"imq"``.
        width: c, in the units of squared distances.

    Example:
        >>> import torch
        >>> from pvae.objectives.mmd import mmd
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> bool(mmd(x, x + 9, "rbf", 2.0) > 1)
        True
    """
    n = x.shape[0]
    others = 1 - torch.eye(n, dtype=x.dtype, device=x.device)
    of_x, of_y, across = (
        _kernel(squared_distances(a, b), kernel, width) for a, b in ((x, x), (y, y), (x, y))
    )
    return ((of_x + of_y) * others).sum() / (n * (n - 1)) - 2 * across.mean()


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """All squared distances between points of shape (n, d) and (m, d), shape (n, m)."""
    return (x.unsqueeze(1) - y).square().sum(-1)


def _kernel(distances: Tensor, kernel: str, width: Tensor | float) -> Tensor:
    if kernel == "rbf":
        return (-distances / width).exp()
    return reduce(add, (s * width / (s * width + distances) for s in SCALES))
