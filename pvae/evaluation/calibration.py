"""Simulation-based calibration: a test of the posterior's uncertainty."""

from itertools import repeat
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pvae.checks import check_size
from pvae.evaluation.batching import (
    MEMORY,
    check_density,
    check_vae,
    counted,
    portions,
    rows_within,
)
from pvae.evaluation.results import described
from pvae.seeds import seeded
from pvae.vae import VAE

MOST_BINS = 20
IN_A_BIN = 5  # least expected count: with fewer the statistic is not chi-square


class Calibration(NamedTuple):
    """The result of simulation-based calibration.

    Attributes:
        ranks: ranks of each simulated z among the draws of its posterior, whole numbers from 0 to
            num_samples, shape (n, d). For an exact posterior they are uniform; for one that is too
            narrow they pile up at both ends, too wide in the middle, shifted at one end.
        p_value: of the test that the ranks are uniform, for each latent, shape (d,).
        num_samples: draws of each posterior.
    """

    ranks: Tensor
    p_value: Tensor
    num_samples: int

    def __repr__(self) -> str:
        return described(self)


def simulation_based_calibration(
    vae: VAE,
    n: int = 1000,
    y: object = None,
    *,
    num_samples: int = 99,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> Calibration:
    r"""Test the amortized posterior against the model by simulation (Talts et al. 2018).

    .. math::
        z \sim p(z), \quad x \sim p(x|z), \quad z_1, \ldots, z_L \sim q(z|x)

    If q(z|x) is the posterior, the rank of each latent of z among those of the L draws is uniform
    on 0, 1, ..., L (theorem 1). That is tested for each latent by Pearson's chi-square over up to
    20 bins of equal numbers of ranks, or as equal as can be. Ties, as of discrete latents, are
    broken at random, which keeps ranks uniform. Uncertain weights are at their medians.

    It tests the posterior of data from the model, not of training data; no data are needed. Uniform
    ranks are necessary for an exact posterior, not sufficient: for example, they do not depend on
    correlations.

    Args:
        vae: the VAE.
        n: the number of z and x to simulate, at least 10.
        y: one label for all of them, or one for each, if the VAE has any.
        num_samples: draws L of each posterior.
        memory: approximate limit of the memory used, in MiB.
        seed: of the draws.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if n is below 10, num_samples below 1, y is missing or not a label, or the
            likelihood is no density.

    Example:
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> found = pvae.evaluation.simulation_based_calibration(vae, n=100)
        >>> found.ranks.shape, found.p_value.shape
        (torch.Size([100, 2]), torch.Size([2]))
    """
    check_vae(vae)
    if check_size("n", n) < 2 * IN_A_BIN:
        raise ValueError(f"n is {n}: a test of uniformity needs at least {2 * IN_A_BIN}.")
    check_size("num_samples", num_samples)
    check_density(vae)
    unknown = vae.labels is None or (y is None and vae.classifier is not None)
    given = None if unknown else vae.labels.each(y, n)
    at_once = max(1, rows_within(vae, memory) // num_samples)
    found = []
    with vae.evaluating(), seeded(seed, vae.device), counted(n, progress, "simulations") as shown:
        labels = repeat(None) if given is None else given.split(at_once)
        for size, label in zip(portions(n, at_once), labels):  # noqa: B905
            p = vae.p_z(label)
            z = p.sample((size,) if p.batch_shape == () else ())
            x = vae.decode(z, label).sample()
            draws = vae.q_z(x, label).sample((num_samples,))
            found.append(_rank(z.flatten(1), draws.flatten(2)))
            shown.update(size)
    ranks = torch.cat(found)
    return Calibration(ranks, _p_value(ranks, num_samples), num_samples)


def _rank(z: Tensor, draws: Tensor) -> Tensor:
    """The rank of each number of z, shape (n, d), among the draws, shape (L, n, d)."""
    less, equal = (draws < z).sum(0), (draws == z).sum(0)
    return less + (torch.rand_like(z) * (equal + 1)).long().minimum(equal)


def _p_value(ranks: Tensor, num_samples: int) -> Tensor:
    """The p-value of the chi-square test of uniform ranks, for each latent."""
    from scipy.stats import chisquare

    n, bins = len(ranks), min(MOST_BINS, num_samples + 1, len(ranks) // IN_A_BIN)
    bin_of_rank = np.arange(num_samples + 1) * bins // (num_samples + 1)
    expected = np.bincount(bin_of_rank) * n / (num_samples + 1)
    observed = [np.bincount(bin_of_rank[r], minlength=bins) for r in ranks.T.cpu().numpy()]
    p_values = [chisquare(counts, expected).pvalue.item() for counts in observed]
    return torch.tensor(p_values, device=ranks.device)
