"""How well posterior means predict labels: nearest neighbours, linear probe, clustering."""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pvae.checks import check_size
from pvae.data.batches import batches_for
from pvae.data.dataset import Dataset
from pvae.data.part import Part
from pvae.evaluation.batching import check_vae
from pvae.evaluation.summary import part_of
from pvae.moments import mean
from pvae.seeds import seeded
from pvae.vae import VAE


class Clustering(NamedTuple):
    """Agreement of clusters found without labels with the labels; 1 if they are the same.

    Attributes:
        adjusted_rand_index: agreement on pairs, 0 on average for random clusters (Hubert and Arabie
            1985).
        normalized_mutual_information: mutual information over the mean of the two entropies.
        accuracy: fraction of the data whose label is that of their cluster, with the best
            one-to-one matching of clusters and labels (Xie, Girshick, Farhadi 2016).
    """

    adjusted_rand_index: float
    normalized_mutual_information: float
    accuracy: float


class Representation(NamedTuple):
    """How well the latents of a VAE predict the labels, on a part of the data.

    Attributes:
        knn_accuracy: the result of `knn_accuracy`.
        linear_probe_accuracy: the result of `linear_probe_accuracy`.
        adjusted_rand_index: from `clustering`.
        normalized_mutual_information: from `clustering`.
        clustering_accuracy: from `clustering`.
    """

    knn_accuracy: float
    linear_probe_accuracy: float
    adjusted_rand_index: float
    normalized_mutual_information: float
    clustering_accuracy: float


def representation(
    vae: VAE, data: Dataset, part: str = "test", *, k: int = 5, seed: int = 0
) -> Representation:
    """Measure how well the posterior means E[z|x] separate the classes of the data.

    Classifiers are trained on the latents of the train part; all metrics are of the other part. A
    posterior that sees labels gets them here too, so its latents need not encode them.

    Args:
        vae: the VAE.
        data: the data set, labelled by classes.
        part: the part to evaluate: train, validation or test.
        k: number of neighbours.
        seed: of the initializations of k-means, and of random draws in converting the data.

    Raises:
        ValueError: if the data set has no such part or no classes, the train part fewer than k
            items, or the likelihood another domain.

    Example:
        >>> import pvae
        >>> from pvae.evaluation import representation
        >>> data = pvae.data.load("digits")
        >>> vae = pvae.build(data.event_shape, latent_dim=2)
        >>> 0 < representation(vae, data).knn_accuracy < 1
        True
    """
    check_vae(vae)
    held = part_of(data, part)
    train_y, test_y = data.train.y, held.y
    if data.label_sizes()["classes"] is None or train_y is None or test_y is None:
        raise ValueError(
            f"The labels of {data.name} are continuous: a representation is measured by how well "
            "it separates classes."
        )
    train_z, test_z = (posterior_means(vae, data, p, seed) for p in (data.train, held))
    train, test = train_y >= 0, test_y >= 0  # whose labels are known
    train_z, train_y, test_z, test_y = train_z[train], train_y[train], test_z[test], test_y[test]
    both = (train_z, train_y, test_z, test_y)
    return Representation(
        knn_accuracy(*both, k=k), linear_probe_accuracy(*both), *clustering(test_z, test_y, seed)
    )


def knn_accuracy(
    train_z: Tensor | np.ndarray,
    train_y: Tensor | np.ndarray,
    test_z: Tensor | np.ndarray,
    test_y: Tensor | np.ndarray,
    k: int = 5,
) -> float:
    """Return the accuracy of a k-nearest-neighbour classifier.

    Args:
        train_z: latents whose labels are known, shape (n, d).
        train_y: their labels, shape (n,).
        test_z: latents to label, shape (m, d).
        test_y: their labels, shape (m,).
        k: number of neighbours, by Euclidean distance.

    Raises:
        ValueError: if a shape is wrong, a number is not finite, or n is below k.

    Example:
        >>> import torch
        >>> from pvae.evaluation import knn_accuracy
        >>> z, y = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])
        >>> knn_accuracy(z, y, torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0]), k=1)
        0.5
    """
    from sklearn.neighbors import KNeighborsClassifier

    train, test = _labelled(train_z, train_y, "train_"), _labelled(test_z, test_y, "test_")
    if check_size("k", k) > len(train[0]):
        raise ValueError(f"k is {k} but there are {len(train[0])} latents: ask for fewer.")
    _check_width(train[0], test[0])
    return float(KNeighborsClassifier(k).fit(*train).score(*test))


def linear_probe_accuracy(
    train_z: Tensor | np.ndarray,
    train_y: Tensor | np.ndarray,
    test_z: Tensor | np.ndarray,
    test_y: Tensor | np.ndarray,
) -> float:
    """Return the accuracy of a logistic regression from latents to labels (Alain, Bengio 2017).

    Latents are standardized by those of the train part, and the weights have a standard normal
    prior.

    Args:
        train_z: latents to train on, shape (n, d).
        train_y: their labels, shape (n,), of at least 2 classes.
        test_z: latents to label, shape (m, d).
        test_y: their labels, shape (m,).

    Raises:
        ValueError: if a shape is wrong, a number is not finite, or there is one class.

    Example:
        >>> import torch
        >>> from pvae.evaluation import linear_probe_accuracy
        >>> z, y = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])
        >>> linear_probe_accuracy(z, y, torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0]))
        0.5
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = _labelled(train_z, train_y, "train_"), _labelled(test_z, test_y, "test_")
    if len(np.unique(train[1])) < 2:
        raise ValueError("train_y has one class: a probe needs at least 2.")
    _check_width(train[0], test[0])
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000))
    return float(probe.fit(*train).score(*test))


def clustering(z: Tensor | np.ndarray, y: Tensor | np.ndarray, seed: int = 0) -> Clustering:
    """Cluster latents by k-means, into as many clusters as labels, and compare the two.

    Args:
        z: latents, shape (n, d).
        y: their labels, shape (n,).
        seed: of the 10 initializations, of which the best is taken.

    Raises:
        ValueError: if a shape is wrong or a number is not finite.

    Example:
        >>> import torch
        >>> from pvae.evaluation import clustering
        >>> z, y = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([1, 1, 0, 0])
        >>> clustering(z, y).accuracy
        1.0
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    z, y = _labelled(z, y)
    with warnings.catch_warnings():
        # Collapsed posteriors have fewer points than clusters, which is a valid result.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(len(np.unique(y)), n_init=10, random_state=seed).fit_predict(z)
    counts = contingency_matrix(y, found)
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    return Clustering(
        float(adjusted_rand_score(y, found)),
        float(normalized_mutual_info_score(y, found)),
        float(matched / len(y)),
    )


def posterior_means(vae: VAE, data: Dataset, part: Part, seed: int = 0) -> Tensor:
    """E[z|x] of every datum of a part, shape (n, d), on the CPU."""
    batches = batches_for(vae, data, part)
    with vae.evaluating(), seeded(seed, vae.device):
        means = [mean(vae.encode(*arguments)).cpu() for arguments in batches.arguments()]
    return torch.cat(means).flatten(1)


def as_array(values: Tensor | np.ndarray) -> np.ndarray:
    """Convert values of any device and precision to NumPy."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def as_rows(name: str, values: Tensor | np.ndarray) -> np.ndarray:
    """Check and return finite numbers of shape (n, d), in double precision.

    Raises:
        ValueError: if they are not.
    """
    rows = as_array(values)
    if rows.ndim != 2 or rows.size == 0 or rows.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} has shape {rows.shape} and dtype {rows.dtype}: expected numbers of shape "
            "(n, d), a row for each datum."
        )
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} holds NaN or infinite values: give finite numbers.")
    return rows.astype(np.float64)


def _labelled(
    z: Tensor | np.ndarray, y: Tensor | np.ndarray, part: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    z, y = as_rows(f"{part}z", z), as_array(y)
    if y.shape != z.shape[:1] or y.dtype.kind == "f":
        raise ValueError(
            f"{part}y has shape {y.shape} and dtype {y.dtype}: expected {len(z)} classes, one for "
            "each latent."
        )
    return z, y


def _check_width(train: np.ndarray, test: np.ndarray) -> None:
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            f"train_z has {train.shape[1]} columns and test_z {test.shape[1]}: they must be equal."
        )
