"""Measures of disentanglement, for data with known factors of variation."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from pvae.checks import check_size
from pvae.evaluation.representations import as_array, as_rows


class DCI(NamedTuple):
    """Three aspects of disentanglement, each from 0 to 1.

    Attributes:
        disentanglement: whether a latent is important for only one factor.
        completeness: whether only one latent is important for a factor.
        informativeness: accuracy of the factors predicted from the latents, on average.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def mig(z: Tensor | np.ndarray, factors: Tensor | np.ndarray, bins: int = 20) -> float:
    r"""Return the mutual information gap, from 0 to 1.

    .. math::
        \frac1K \sum_k \frac{1}{H(v_k)} \Bigl( I(z_{j_k}; v_k) - \max_{j \ne j_k} I(z_j; v_k)
        \Bigr), \quad j_k = \arg\max_j I(z_j; v_k)

    It is 1 if one latent determines every factor and all others are independent of it (Chen, Li,
    Grosse, Duvenaud 2018, equation 6). Latents, such as posterior means, are divided into bins of
    equal width (Locatello et al. 2019).

    Args:
        z: latents, shape (n, d), d ≥ 2.
        factors: discrete factors v as whole numbers, shape (n, K).
        bins: number of bins.

    Raises:
        ValueError: if a shape is wrong, latents are not finite, or a factor does not hold whole
            numbers or has one value only.

    Example:
        >>> import torch
        >>> from pvae.evaluation import mig
        >>> factors = torch.cartesian_prod(torch.arange(3), torch.arange(4))
        >>> round(mig(2.0 * factors.flip(-1), factors), 3)
        1.0
    """
    from scipy.stats import entropy
    from sklearn.metrics import mutual_info_score

    check_size("bins", bins)
    z, factors = _checked(z, factors)
    low, width = z.min(0), np.ptp(z, 0)
    scaled = np.divide(z - low, width, out=np.zeros_like(z), where=width > 0)
    binned = np.minimum((scaled * bins).astype(int), bins - 1)
    shared = _pairs(binned, factors, mutual_info_score)
    entropies = np.array([entropy(np.bincount(v)) for v in factors.T])
    return _gap(shared / entropies)


def sap(z: Tensor | np.ndarray, factors: Tensor | np.ndarray) -> float:
    """Return the separated attribute predictability score.

    A factor is predicted from one latent at a time by thresholds; its score is the balanced
    accuracy of the best latent less that of the second best (Kumar, Sattigeri, Balakrishnan 2018,
    section 3). There is a leaf of a decision tree for each value of the factor.

    Independent latents predict a factor of m values with a balanced accuracy of 1/m, so a perfect
    score is the mean of 1 - 1/m over the factors.

    Args:
        z: latents, shape (n, d), d ≥ 2.
        factors: discrete factors as whole numbers, shape (n, K).

    Raises:
        ValueError: as `mig` does.

    Example:
        >>> import torch
        >>> from pvae.evaluation import sap
        >>> factors = torch.cartesian_prod(torch.arange(2), torch.arange(4))
        >>> sap(2.0 * factors.flip(-1), factors)  # mean of 1/2 and 3/4
        0.625
    """
    return _gap(_pairs(*_checked(z, factors), _threshold_accuracy))


def dci(z: Tensor | np.ndarray, factors: Tensor | np.ndarray, seed: int = 0) -> DCI:
    r"""Return disentanglement, completeness and informativeness.

    A random forest learns to predict each factor from all latents. With R the importance of latent
    i for factor j, and H the entropy of a row or column divided by its sum, over the largest that
    the entropy can be,

    .. math::
        D = \sum_i \frac{\sum_j R_{ij}}{\sum_{ij} R_{ij}} \Bigl(1 - H(R_{i\cdot})\Bigr), \quad
        C = \frac1K \sum_j \Bigl(1 - H(R_{\cdot j})\Bigr)

    (Eastwood and Williams 2018, section 2). Informativeness is the accuracy on held-out data, a
    quarter of all, instead of the error of the paper.

    Args:
        z: latents, shape (n, d), d ≥ 2.
        factors: discrete factors as whole numbers, shape (n, K).
        seed: of the forests and of the split of the data.

    Raises:
        ValueError: as `mig` does.

    Example:
        >>> import torch
        >>> from pvae.evaluation import dci
        >>> factors = torch.cartesian_prod(torch.arange(2), torch.arange(4)).repeat(10, 1)
        >>> dci(2.0 * factors.flip(-1), factors)
        DCI(disentanglement=1.0, completeness=1.0, informativeness=1.0)
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    z, factors = _checked(z, factors)
    train_z, test_z, train_v, test_v = train_test_split(z, factors, random_state=seed)
    columns, accuracy = [], []
    for train, test in zip(train_v.T, test_v.T, strict=True):
        # All latents compete for every split, so that none is important for lack of a better one.
        forest = RandomForestClassifier(50, max_features=None, random_state=seed)
        columns.append(forest.fit(train_z, train).feature_importances_)
        accuracy.append(forest.score(test_z, test))
    importance = np.stack(columns, 1)
    return DCI(_unity(importance), _unity(importance.T), float(np.mean(accuracy)))


def _unity(importance: np.ndarray) -> float:
    """One minus the normalized entropy of each row, averaged with the row sums as weights."""
    from scipy.special import entr

    sums = importance.sum(1, keepdims=True)
    if not sums.any():  # latents of one value predict nothing
        return 0.0
    parts = np.divide(importance, sums, out=np.zeros_like(importance), where=sums > 0)
    unity = 1 - entr(parts).sum(1) / np.log(max(importance.shape[1], 2))
    return float(np.average(unity, weights=sums.ravel()))


def _threshold_accuracy(z: np.ndarray, v: np.ndarray) -> float:
    """Balanced accuracy of thresholds on one latent."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=v.max() + 1, class_weight="balanced")
    return balanced_accuracy_score(v, tree.fit(z[:, None], v).predict(z[:, None]))


def _pairs(
    z: np.ndarray, factors: np.ndarray, score: Callable[[np.ndarray, np.ndarray], float]
) -> np.ndarray:
    """A score of each latent with each factor, shape (d, K)."""
    return np.array([[score(latent, v) for v in factors.T] for latent in z.T])


def _gap(scores: np.ndarray) -> float:
    """The mean difference of the best and the second-best latent of a factor."""
    second, best = np.sort(scores, 0)[-2:]
    return float((best - second).mean())


def _checked(z: Tensor | np.ndarray, factors: Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latents and factors, the values of each factor numbered from 0."""
    z, factors = as_rows("z", z), as_array(factors)
    if z.shape[1] < 2:
        raise ValueError("z has 1 latent: to compare latents takes at least 2.")
    if factors.ndim != 2 or len(factors) != len(z) or factors.dtype.kind not in "biu":
        raise ValueError(
            f"factors has shape {factors.shape} and dtype {factors.dtype}: expected whole numbers "
            f"of shape ({len(z)}, K), a row for each datum; cut continuous factors in bins."
        )
    numbered = [np.unique(v, return_inverse=True)[1] for v in factors.T]
    constant = [k for k, v in enumerate(numbered) if v.max() == 0]
    if constant:
        raise ValueError(
            f"Factor {constant[0]} has the same value in all data: leave it out, as there is "
            "no variation to measure."
        )
    return z, np.stack(numbered, 1)
