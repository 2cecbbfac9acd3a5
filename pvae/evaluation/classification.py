"""Classification by a VAE whose labels may be unknown: p(y|x), its error and its calibration."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pvae.checks import check_size
from pvae.evaluation.batching import MEMORY, as_batch
from pvae.evaluation.importance import log_mean
from pvae.evaluation.log_likelihood import log_likelihood
from pvae.evaluation.results import described
from pvae.inputs import as_tensor
from pvae.messages import shown
from pvae.vae import VAE
from pvae.weights.draws import NUM_WEIGHTS, over_weights


class Classified(NamedTuple):
    """Probabilities of classes, from the evidence of each.

    Attributes:
        probs: p(y|x), shape (n, classes).
        log_joint: log p(x, y) in nats, shape (n, classes); its logsumexp over classes is log p(x).
        standard_error: that of ``log_joint``, shape (n, classes); NaN where it is unknown.
    """

    probs: Tensor
    log_joint: Tensor
    standard_error: Tensor

    def __repr__(self) -> str:
        return described(self)


class Classification(NamedTuple):
    """How good probabilities of classes are, for data with known labels.

    Attributes:
        error: the share of data whose most probable class is not their label.
        standard_error: that of the error, by the choice of the data.
        calibration_error: the expected calibration error, ECE: the mean distance of the confidence,
            the probability of the most probable class, from the accuracy.
        confidence: the mean confidence in each bin, shape (bins,); NaN in an empty one.
        accuracy: the share of right classes in each bin, shape (bins,); NaN in an empty one.
        counts: the number of data in each bin, shape (bins,).
    """

    error: float
    standard_error: float
    calibration_error: float
    confidence: Tensor
    accuracy: Tensor
    counts: Tensor

    def __repr__(self) -> str:
        n = int(self.counts.sum())
        words = (
            f"error {100 * self.error:.2f} ± {100 * self.standard_error:.2f} % of {n:,} data, "
            f"calibration error {100 * self.calibration_error:.2f} %"
        )
        return described(self, words)


def classify(
    vae: VAE,
    x: Tensor,
    *,
    num_samples: int = 100,
    num_weights: int = NUM_WEIGHTS,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> Classified:
    r"""Estimate p(y|x) by Bayes' rule from the evidence of each class.

    .. math::
        p(y|x) = \frac{p(y)\, p(x|y)}{\sum_k p(k)\, p(x|k)}, \qquad
        \log p(x|y) \approx \log \frac{1}{K} \sum_{k=1}^K \frac{p(x, z_k|y)}{q(z_k|x, y)}

    with draws z from q(z|x, y), as `log_likelihood` takes them. It needs no classifier: p(y) is
    uniform unless it is learned. A VAE with one has `VAE.classify` as well, which is quicker. If
    weights w are uncertain, p(x, y) is the mean of p(x, y|w) over draws of them.

    Args:
        vae: the VAE; its labels are classes.
        x: shape (n, \*event_shape), in the likelihood's domain.
        num_samples: draws for each datum and class, and for each draw of uncertain weights.
        num_weights: draws of uncertain weights.
        memory: approximate limit of the memory used, in MiB.
        seed: of the random draws, which are the same for every class.
        progress: whether to show a progress bar if it takes long.

    Raises:
        ValueError: if the VAE has no classes, or an argument is invalid as for `log_likelihood`.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((5,), latent_dim=2, conditional=True, classes=3)
        >>> pvae.evaluation.classify(vae, torch.ones(4, 5)).probs.shape
        torch.Size([4, 3])
    """
    x = as_batch(vae, x)
    if vae.labels is None or vae.labels.classes is None:
        raise ValueError("This VAE has no classes: build it with conditional= and classes=.")
    options: dict[str, Any] = {
        "num_samples": num_samples,
        "num_weights": num_weights,
        "memory": memory,
        "seed": seed,
        "progress": progress,
    }
    found = [
        log_likelihood(vae, x, torch.full((len(x),), k), **options)
        for k in range(vae.labels.classes)
    ]
    # The draws of the weights are those of log p(x|y, w), by the same seed.
    with torch.no_grad(), over_weights(vae, num_weights, seed) as draws:
        log_p_y = torch.stack([use().labels.prior().logits for use in draws])
        given_weights = torch.stack([each.over_weights for each in found], dim=-1) + log_p_y
        log_joint = log_mean(given_weights.movedim(1, 0))
    errors = torch.stack([each.standard_error for each in found], dim=-1)
    return Classified(log_joint.softmax(-1), log_joint, errors)


def classification(probs: Tensor, y: Tensor, bins: int = 15) -> Classification:
    r"""Measure the error and the calibration of probabilities of classes.

    .. math::
        ECE = \sum_m \frac{n_m}{n} \bigl| \text{accuracy}_m - \text{confidence}_m \bigr|

    over bins of equal width of the confidence (Naeini, Cooper, Hauskrecht 2015; Guo et al. 2017).
    `pvae.plots.reliability` plots these.

    Args:
        probs: probabilities, shape (n, classes), such as ``vae.classify(x).probs``.
        y: the labels, shape (n,); data whose label is unknown, -1, are left out.
        bins: the number of bins.

    Raises:
        ValueError: if the shapes do not fit, a label is no class, none is known, or the
            probabilities of a datum do not add up to 1.

    Example:
        >>> import torch
        >>> from pvae.evaluation import classification
        >>> classification(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1])).error
        0.5
    """
    check_size("bins", bins)
    probs = as_tensor("probs", probs, "probabilities of shape (n, classes)")
    y = as_tensor("y", y, "labels of shape (n,)").to(probs.device)
    if probs.dim() != 2 or y.shape != probs.shape[:1]:
        raise ValueError(
            f"probs has shape {tuple(probs.shape)} and y {tuple(y.shape)}: expected (n, classes) "
            "and (n,)."
        )
    probs, y = probs[y >= 0].double(), y[y >= 0]
    if not len(y) or int(y.max()) >= probs.shape[1]:
        raise ValueError(
            f"y must hold known labels from 0 to {probs.shape[1] - 1}, and -1 where they are "
            f"unknown: {'none is known' if not len(y) else f'one is {shown(y.max().item())}'}."
        )
    if bool((probs < 0).any()) or not torch.allclose(probs.sum(-1), probs.new_ones(()), atol=1e-3):
        raise ValueError(
            "probs are no probabilities, which are at least 0 and add up to 1 over the classes: "
            "give those of a classifier, not its logits."
        )
    confidence, best = probs.max(-1)
    right = (best == y).double()
    n, error = len(y), 1 - right.mean().item()
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    zeros = torch.zeros(bins, dtype=torch.float64, device=probs.device)
    count = zeros.index_add(0, index, torch.ones_like(right))
    sums = (zeros.index_add(0, index, each) for each in (confidence, right))
    confidences, accuracies = (each / count for each in sums)
    gaps = count * (accuracies - confidences).abs()
    return Classification(
        error,
        math.sqrt(error * (1 - error) / n),
        gaps.nansum().item() / n,
        confidences,
        accuracies,
        count.long(),
    )
