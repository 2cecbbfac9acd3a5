"""Sample quality: closeness to the data and coverage of the data, in a feature space."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pvae.checks import check_size
from pvae.data.batches import batches_for
from pvae.data.dataset import Dataset
from pvae.evaluation.batching import MEMORY, check_vae, portions, rows_within
from pvae.evaluation.representations import as_rows
from pvae.evaluation.summary import part_of
from pvae.inputs import as_tensor
from pvae.messages import kind_of
from pvae.seeds import choice, seeded
from pvae.vae import VAE

_LABELLED = 10_000  # maximum number of data to train the default features on
_STEPS, _STEP = 500, 100  # minibatches, and data in each
_DISTANCES = 2**22  # maximum number in memory at a time


class PrecisionRecall(NamedTuple):
    """Precision, recall, density and coverage of fake features with respect to real ones.

    The manifold of a set is the union of balls around its points, each with the distance to the
    k-th nearest other point of the set as radius.

    Attributes:
        precision: fraction of the fake points within the manifold of the real ones.
        recall: fraction of the real points within the manifold of the fake ones.
        density: number of real balls around a fake point, over k, on average; about 1 for sets of
            one distribution, and not bounded by 1.
        coverage: fraction of the real balls that hold a fake point.
    """

    precision: float
    recall: float
    density: float
    coverage: float


class SampleQuality(NamedTuple):
    """Comparison of samples of a VAE with real data.

    Attributes:
        precision: of `PrecisionRecall`, as the next three.
        recall: of `PrecisionRecall`.
        density: of `PrecisionRecall`.
        coverage: of `PrecisionRecall`.
        frechet_distance: of `frechet_distance`; 0 at best.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    frechet_distance: float


def sample_quality(
    vae: VAE,
    data: Dataset,
    part: str = "test",
    *,
    features: Callable[[Tensor], Tensor] | None = None,
    n: int = 1000,
    seed: int = 0,
) -> SampleQuality:
    r"""Compare samples of a VAE with equally many real data, in a feature space.

    Samples are drawn from p(x), including the noise of p(x|z), and so lie in the likelihood's
    domain. Real data are converted to this domain: for a VAE of binary images, both are binary. A
    conditional VAE gets the labels of the real data.

    Results for different features, or different numbers of data, are not comparable.

    Args:
        vae: the VAE.
        data: the data set.
        part: the part with the real data: train, validation or test.
        features: maps a batch of x, shape (n, \*event_shape), to features of shape (n, f); by
            default `classifier_features` of the train part, or of 10,000 random data of it.
        n: number of real data, a random choice, and of samples; no more than the part has.
        seed: of all random draws.

    Raises:
        ValueError: if the data set has no such part, n or the part is below 6, the likelihood has
            another domain, or there are neither features nor classes to train them on.

    Example:
        >>> import pvae
        >>> from pvae.evaluation import sample_quality
        >>> data = pvae.data.load("digits")
        >>> vae = pvae.build(data.event_shape, latent_dim=2)
        >>> sample_quality(vae, data, features=lambda x: x.flatten(1)).precision
        0.0
    """
    check_vae(vae)
    held = part_of(data, part)
    if features is not None and not callable(features):
        raise TypeError(
            f"features is {kind_of(features)}: expected a function from a batch to an array of "
            "shape (n, f), such as classifier_features returns."
        )
    count = min(check_size("n", n), len(held))
    if features is None:
        features = _learned(vae, data, seed)
    order = choice(len(held), count, seed)
    with vae.evaluating(), seeded(seed, vae.device):
        batches = list(batches_for(vae, data, held).arguments(order))
        labels = torch.cat([y for _, y in batches]) if batches[0][1:] else None
        real = torch.cat([features(x).cpu() for x, *_ in batches])
        fake = torch.cat([features(x).cpu() for x in _samples(vae, count, labels)])
    return SampleQuality(*precision_recall(real, fake), frechet_distance(real, fake))


def precision_recall(
    real: Tensor | np.ndarray, fake: Tensor | np.ndarray, k: int = 5
) -> PrecisionRecall:
    r"""Return precision and recall, density and coverage.

    Precision and recall are of Kynkäänniemi et al. 2019 (equation 2); density and coverage, which
    are more robust to outliers, of Naeem et al. 2020 (equations 4 and 6). Distances are Euclidean.

    Args:
        real: features of real data, shape (n, f).
        fake: features of samples, shape (m, f).
        k: the neighbour whose distance is the radius of the ball around a point.

    Raises:
        ValueError: if a shape is wrong, a number is not finite, or a set has no more than k
            points.

    Example:
        >>> import torch
        >>> from pvae.evaluation import precision_recall
        >>> real, fake = torch.randn(200, 3), torch.randn(200, 3) + 100
        >>> precision_recall(real, fake)
        PrecisionRecall(precision=0.0, recall=0.0, density=0.0, coverage=0.0)
    """
    real, fake = _both(real, fake)
    if check_size("k", k) >= min(len(real), len(fake)):
        raise ValueError(
            f"k is {k} with {len(real)} real and {len(fake)} fake data: give more data than k."
        )
    reach_real, reach_fake = _reach(real, k), _reach(fake, k)
    around = torch.zeros(len(fake), dtype=torch.int64)
    recalled, covered = torch.zeros(2, len(real), dtype=torch.bool)
    for rows, distance in _distances(fake, real):
        within = distance <= reach_real
        around[rows] = within.sum(1)
        covered |= within.any(0)
        recalled |= (distance <= reach_fake[rows, None]).any(0)
    return PrecisionRecall(
        (around > 0).double().mean().item(),
        recalled.double().mean().item(),
        around.double().mean().item() / k,
        covered.double().mean().item(),
    )


def frechet_distance(real: Tensor | np.ndarray, fake: Tensor | np.ndarray) -> float:
    r"""Return the Fréchet distance of the normal distributions with the moments of two sets.

    .. math::
        d^2 = |\mu_1 - \mu_2|^2 + \mathrm{Tr}\bigl(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\bigr)

    It is the squared distance of Heusel et al. 2017; with features of the Inception network it is
    the "FID". Covariances are unbiased. The fewer the data, the larger it is on average, so compare
    it only for equal numbers of data.

    Args:
        real: features of real data, shape (n, f), n ≥ 2.
        fake: features of samples, shape (m, f), m ≥ 2.

    Raises:
        ValueError: if a shape is wrong, a number is not finite, or a set has only one point.

    Example:
        >>> import torch
        >>> from pvae.evaluation import frechet_distance
        >>> x = torch.randn(100, 3)
        >>> round(frechet_distance(x, x + 1), 6)
        3.0
    """
    real, fake = _both(real, fake)
    if min(len(real), len(fake)) < 2:
        raise ValueError("A covariance takes at least 2 real and 2 fake data: give more.")
    # For C = R'R the trace of the root is the sum of the singular values of R1 R2'. Without squares
    # or roots of eigenvalues that should be 0, no precision is lost.
    roots = [
        torch.linalg.qr((x - x.mean(0)) / (len(x) - 1) ** 0.5, mode="r").R for x in (real, fake)
    ]
    traces = sum(root.square().sum() for root in roots)
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    distance = (real.mean(0) - fake.mean(0)).square().sum() + traces - 2 * shared
    return max(distance.item(), 0.0)


def classifier_features(x: Tensor, y: Tensor, seed: int = 0) -> Callable[[Tensor], Tensor]:
    r"""Train a classifier, and return a function to the features of its last hidden layer.

    A network with hidden layers of 256 and 64 rectified units is trained by 500 steps of Adam on
    minibatches of 100. It is small to be fast; if it classifies badly, its features are bad.

    Args:
        x: data, shape (n, \*event_shape).
        y: their classes, whole numbers from 0, shape (n,).
        seed: of the weights and the minibatches.

    Returns:
        A function from data, shape (m, \*event_shape), to the last hidden layer, shape (m, 64), on
        the device of x.

    Raises:
        ValueError: if there is no class for each datum.

    Example:
        >>> import torch
        >>> from pvae.evaluation import classifier_features
        >>> x, y = torch.rand(50, 1, 8, 8), torch.arange(50) % 2
        >>> classifier_features(x, y)(x).shape
        torch.Size([50, 64])
    """
    x = as_tensor("x", x, "data of shape (n, *event_shape)")
    y = as_tensor("y", y, "classes of shape (n,)")
    if y.shape != x.shape[:1] or y.is_floating_point() or len(y) == 0:
        raise ValueError(
            f"y has shape {tuple(y.shape)} and dtype {y.dtype}: expected {len(x)} classes, one for "
            "each datum."
        )
    x, y = x if x.is_floating_point() else x.float(), y.to(x.device).long()
    loc, scale = x.mean(), x.std().clamp_min(1e-6)
    with seeded(seed, x.device), torch.enable_grad():
        hidden = nn.Sequential(
            nn.Flatten(), nn.Linear(x[0].numel(), 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU()
        ).to(x)
        head = nn.Linear(64, int(y.max()) + 1).to(x)
        optimizer = torch.optim.Adam([*hidden.parameters(), *head.parameters()], lr=1e-3)
        for _ in range(_STEPS):
            rows = torch.randint(len(x), (_STEP,), device=x.device)
            loss = cross_entropy(head(hidden((x[rows] - loc) / scale)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def features(x: Tensor) -> Tensor:
        with torch.no_grad():
            return hidden((x.to(loc) - loc) / scale)

    return features


def _learned(vae: VAE, data: Dataset, seed: int) -> Callable[[Tensor], Tensor]:
    """The default features, trained on data in the likelihood's domain."""
    y = data.train.y
    if y is None or y.dim() > 1:
        raise ValueError(
            f"The data {data.name} have no classes to train features on: give features, a "
            "function from data to an array of shape (n, f)."
        )
    known = (y >= 0).nonzero().squeeze(-1)
    order = known[choice(len(known), _LABELLED, seed)]
    with seeded(seed, vae.device):
        x = torch.cat(list(batches_for(vae, data, data.train).epoch(order)))
    return classifier_features(x, y[order], seed)


def _samples(vae: VAE, n: int, y: Tensor | None) -> Iterator[Tensor]:
    """Sample p(x) or p(x|y), in chunks that fit into memory."""
    done = 0
    for size in portions(n, rows_within(vae, MEMORY)):
        yield vae.sample(size, None if y is None else y[done : done + size], draw=True)
        done += size


def _both(real: Tensor | np.ndarray, fake: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    real, fake = (torch.from_numpy(as_rows(*x)) for x in (("real", real), ("fake", fake)))
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"real has {real.shape[1]} columns and fake {fake.shape[1]}: they must be equal."
        )
    return real, fake


def _distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Distances of chunks of x from all of y, identical in either order."""
    at_once = max(1, _DISTANCES // len(y))
    for start in range(0, len(x), at_once):
        rows = slice(start, start + at_once)
        yield rows, torch.cdist(x[rows], y, compute_mode="donot_use_mm_for_euclid_dist")


def _reach(x: Tensor, k: int) -> Tensor:
    """The distance of each point to its k-th nearest other point."""
    # The nearest is the point itself.
    return torch.cat([distance.kthvalue(k + 1).values for _, distance in _distances(x, x)])
