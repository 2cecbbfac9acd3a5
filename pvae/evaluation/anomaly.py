"""Anomaly scores from the log-likelihood, and their ROC curves."""

import math
import zlib
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pvae.checks import check_size
from pvae.evaluation.batching import MEMORY, check_vae
from pvae.evaluation.code_length import png
from pvae.evaluation.k_hat import unreliable_share
from pvae.evaluation.log_likelihood import log_likelihood
from pvae.evaluation.results import described
from pvae.inputs import as_tensor
from pvae.messages import shown
from pvae.vae import VAE
from pvae.weights.draws import NUM_WEIGHTS, over_weights

CORRECTIONS = ("typicality", "background", "complexity", "expected", "waic", "disagreement")
OVER_WEIGHTS = CORRECTIONS[3:]
Correction = Literal["typicality", "background", "complexity", "expected", "waic", "disagreement"]


class AnomalyScore(NamedTuple):
    """How anomalous each datum is.

    Attributes:
        score: higher for what is more anomalous, in nats, shape (n,).
        log_prob: the estimate of log p(x) that it is based on, in nats, shape (n,).
        pareto_k: k-hat of that estimate, shape (n,). Above 0.7 it is a lower bound whose error is
            unknown; NaN for fewer than 25 samples (see `log_likelihood`).
        standard_error: of ``log_prob``, by the draws of z, shape (n,).
        over_weights: log p(x|w) for each draw w of uncertain weights, shape (n, draws), which give
            the error by their choice (see `weight_error`).
    """

    score: Tensor
    log_prob: Tensor
    pareto_k: Tensor
    standard_error: Tensor
    over_weights: Tensor

    @property
    def unreliable_share(self) -> float:
        """The share of the data whose k-hat is above 0.7."""
        return unreliable_share(self.pareto_k)

    def __repr__(self) -> str:
        return described(self)


class ROC(NamedTuple):
    """The receiver operating characteristic of a score, threshold by threshold.

    Attributes:
        false_positive_rate: the fraction of normal data above each threshold, rising from 0 to 1.
        true_positive_rate: the fraction of anomalies above it, rising from 0 to 1.
        area: the area under the curve, the probability that an anomaly has a higher score than a
            normal datum, ties counted as half; 0.5 for chance.
    """

    false_positive_rate: Tensor
    true_positive_rate: Tensor
    area: float

    def __repr__(self) -> str:
        return described(self)


def anomaly_score(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_samples: int = 100,
    num_weights: int = NUM_WEIGHTS,
    correction: Correction | None = None,
    reference: Tensor | tuple[Tensor, object] | None = None,
    background: VAE | None = None,
    levels: int = 256,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> AnomalyScore:
    r"""Score how anomalous each datum is, from its log-likelihood.

    ==================  =================================  =============================
    correction          score                              source
    ==================  =================================  =============================
    ``None``            -log p(x)                          Bishop 1994
    ``"typicality"``    abs(log p(x) - mean over x' of     Nalisnick et al. 2019, for
                        log p(x'))                         a single datum
    ``"background"``    -(log p(x) - log p_b(x))           Ren et al. 2019
    ``"complexity"``    -(log p(x) + L(x))                 Serrà et al. 2020
    ``"expected"``      -E log p(x|w)
    ``"waic"``          -E log p(x|w) + Var log p(x|w)     Choi, Jang, Alemi 2018
    ``"disagreement"``  -1 / sum of s², with shares        Daxberger and Hernández-
                        s = p(x|w) / sum of p(x|w)         Lobato 2019
    ==================  =================================  =============================

    The plain score is unreliable: simple data, and those nearest to the mean, are often more likely
    than the training data (Nalisnick et al. 2019b). Typicality also scores data as anomalous that
    are too likely, with x' from the training data. A background model p_b removes what all data
    have in common. So does L(x), the code length of x in nats by a general compressor, see
    `complexity`, without another model.

    The last three are over draws of uncertain weights w (see `pvae.weights.Weights`): data that the
    weights were trained on have much the same likelihood under all of them. In the others p(x) is
    the mean of p(x|w).

    Log-likelihoods are estimated by importance sampling, see `log_likelihood`.

    Args:
        vae: the VAE, trained on normal data.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_samples: draws of z for each datum, and for each draw of uncertain weights.
        num_weights: draws of uncertain weights.
        correction: one of those above.
        reference: for typicality, data x' that the VAE was trained on; with their labels, as a pair
            (x', y'), if it has any.
        background: for ``"background"``, a VAE over the same values, trained on perturbed data or
            on data of many kinds.
        levels: for complexity, the number of levels before dequantization, see `complexity`.
        memory: about how much may be held at once, in MiB.
        seed: of the random draws.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if the correction is unknown, or its argument is missing or given without it;
            the score is over draws of weights, and there is one; the background is over other
            values; or data or labels are invalid for the VAE, or cannot be compressed.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> pvae.evaluation.anomaly_score(vae, torch.ones(5, 1, 8, 8)).score.shape
        torch.Size([5])
    """
    if correction is not None and correction not in CORRECTIONS:
        raise ValueError(
            f"correction is {shown(correction)}: it must be "
            f"{', '.join(map(repr, CORRECTIONS))} or None."
        )
    if (correction == "typicality") != (reference is not None):
        raise ValueError(
            "Typicality is relative to data: correction='typicality' and reference=, a batch that "
            "the VAE was trained on, go together."
        )
    if (correction == "background") != (background is not None):
        raise ValueError(
            "A likelihood ratio is of two models: correction='background' and background=, another "
            "VAE, go together."
        )
    if background is not None:
        _check_same_values(vae, background)
    if correction in OVER_WEIGHTS:
        _check_several(vae, num_weights, correction)
    options: dict[str, Any] = {
        "num_samples": num_samples,
        "num_weights": num_weights,
        "memory": memory,
        "seed": seed,
        "progress": progress,
    }
    found = log_likelihood(vae, x, y, **options)
    log_prob = found.log_prob
    score = -log_prob
    if correction in OVER_WEIGHTS:
        score = _over_weights(found.over_weights, correction)
    elif correction == "typicality":
        given: Any = reference if isinstance(reference, tuple) else (reference,)
        expected = log_likelihood(vae, *given, **options).log_prob.mean()
        score = (log_prob - expected).abs()
    elif background is not None:
        general = log_likelihood(background, x, y, **options).log_prob.to(log_prob)
        score = general - log_prob
    elif correction == "complexity":
        score = -(log_prob + complexity(x, levels).to(log_prob))
    return AnomalyScore(score, log_prob, found.pareto_k, found.standard_error, found.over_weights)


def _over_weights(log_prob: Tensor, correction: str | None) -> Tensor:
    """A score from log p(x|w) for each draw of the weights, shape (n, draws)."""
    if correction == "disagreement":
        return -1 / log_prob.softmax(1).square().sum(1)
    expected = -log_prob.mean(1)
    return expected + log_prob.var(1) if correction == "waic" else expected


def complexity(x: Tensor, levels: int = 256) -> Tensor:
    r"""Return the code length of each datum by a general compressor, in nats.

    Images of up to 256 levels are compressed as PNG, other data by zlib, with constant overhead.
    Whole numbers are compressed unchanged, values in [0, 1] as levels of grey.

    Args:
        x: shape (n, \*event_shape).
        levels: the number of levels of grey that the data had before dequantization.

    Returns:
        A tensor of shape (n,).

    Raises:
        ValueError: if values are neither whole numbers nor in [0, 1], or levels is below 1.

    Example:
        >>> import torch
        >>> from pvae.evaluation import complexity
        >>> x = torch.stack([torch.zeros(1, 28, 28), torch.rand(1, 28, 28)])
        >>> flat, noisy = complexity(x)
        >>> bool(flat < noisy / 5)
        True
    """
    check_size("levels", levels)
    x = as_tensor("x", x, "data of shape (n, *event_shape)").detach().cpu().double()
    if not bool((x == x.round()).all()):
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise ValueError(
                "x holds neither whole numbers nor values in [0, 1], which a compressor could take "
                "as levels: use another correction than 'complexity'."
            )
        x = (levels * x).floor().clamp_max(levels - 1)
    is_image = x.dim() == 4 and x.shape[1] in (1, 3) and x.min() >= 0 and x.max() <= 255
    size = _png_size if is_image else _zlib_size
    return torch.tensor([8 * math.log(2) * size(datum) for datum in x], dtype=torch.float64)


def roc(score: Tensor, anomalous: Tensor) -> ROC:
    """Return the ROC curve of a score for anomalies against normal data (Fawcett 2006).

    Args:
        score: higher for what is more anomalous, shape (n,).
        anomalous: which data are anomalies, of booleans or 0 and 1, shape (n,).

    Raises:
        ValueError: if the shapes differ, a score is NaN, or all data are of one class.

    Example:
        >>> import torch
        >>> from pvae.evaluation import roc
        >>> roc(torch.tensor([0.1, 0.4, 0.3, 0.8]), torch.tensor([0, 0, 1, 1])).area
        0.75
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    score = as_tensor("score", score, "numbers of shape (n,)").detach().cpu()
    anomalous = as_tensor("anomalous", anomalous, "0 and 1 of shape (n,)").detach().cpu()
    if score.dim() != 1 or score.shape != anomalous.shape:
        raise ValueError(
            f"score has shape {tuple(score.shape)} and anomalous {tuple(anomalous.shape)}: both "
            "must be of the same shape (n,)."
        )
    if bool(score.isnan().any()):
        raise ValueError("score is NaN for some data, which then have no rank: leave them out.")
    if anomalous.double().unique().tolist() != [0, 1]:
        raise ValueError("anomalous must hold both 0 and 1, normal data and anomalies.")
    # Ranks, since a score may be infinite.
    rank, truth = score.unique(return_inverse=True)[1].numpy(), anomalous.bool().numpy()
    false_positive, true_positive, _ = roc_curve(truth, rank)
    area = float(roc_auc_score(truth, rank))
    return ROC(torch.from_numpy(false_positive), torch.from_numpy(true_positive), area)


def _check_several(vae: VAE, num_weights: int, correction: str | None) -> None:
    check_vae(vae)
    with over_weights(vae, check_size("num_weights", num_weights)) as draws:
        if len(draws) < 2:
            raise ValueError(
                f"correction={correction!r} is over draws of uncertain weights: give a VAE that "
                "has them (pvae.weights), and num_weights of at least 2."
            )


def _check_same_values(vae: VAE, background: VAE) -> None:
    check_vae(vae)
    check_vae(background, "background")
    values = [(v.likelihood.domain, tuple(v.event_shape)) for v in (vae, background)]
    if values[0] != values[1]:
        raise ValueError(
            f"The background is over {values[1][0]} of shape {values[1][1]} and the VAE over "
            f"{values[0][0]} of shape {values[0][1]}: both must be over the same."
        )
    if background.labels is not None and vae.labels is None:
        raise ValueError("The background is conditional and the VAE is not: choose another.")


def _png_size(image: Tensor) -> int:
    return len(png(image.byte().unsqueeze(0).numpy()))


def _zlib_size(datum: Tensor) -> int:
    return len(zlib.compress(datum.int().numpy().tobytes(), level=9))
