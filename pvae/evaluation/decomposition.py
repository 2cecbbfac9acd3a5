"""Decomposition of the KL of a VAE, and its active latents."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    kl_divergence,
)

from pvae.checks import check_size, is_real
from pvae.distributions.normal_mixture import NormalMixture
from pvae.distributions.relaxed_bernoulli import RelaxedBernoulli
from pvae.distributions.rotated_normal import RotatedNormal
from pvae.evaluation.batching import (
    MEMORY,
    as_batch,
    check_batch,
    counted,
    per_datum,
    portions,
    rows_within,
    split,
)
from pvae.evaluation.results import described
from pvae.messages import shown
from pvae.moments import SAMPLES
from pvae.seeds import seeded
from pvae.vae import VAE

# About how many floats the density of a pair of a draw and a datum needs, for each latent.
PER_LATENT = 64
INDEPENDENT = Independent, RelaxedBernoulli  # those whose density is the product of their marginals


class KLDecomposition(NamedTuple):
    r"""The KL of each datum, and the terms of its average over the data, in nats.

    ``kl.mean() = mutual_information + marginal_kl``, and, where both are there,
    ``marginal_kl = total_correlation + dimension_wise.sum()``, but for rounding.

    Attributes:
        kl: KL(q(z|x) || p(z)) of each datum, shape (n,).
        mutual_information: I(x; z) of a datum of the n and its z, at most log n, shape ().
        marginal_kl: KL(q(z) || p(z)) of the aggregate posterior, shape ().
        total_correlation: KL(q(z) || prod_j q(z_j)), shape (); ``None`` where the marginals of
            q(z|x) are not known.
        dimension_wise: KL(q(z_j) || p(z_j)) of each latent, shape (d,); ``None`` where the
            marginals are not known, or the latents are not independent under the prior.
    """

    kl: Tensor
    mutual_information: Tensor
    marginal_kl: Tensor
    total_correlation: Tensor | None
    dimension_wise: Tensor | None

    def __repr__(self) -> str:
        return described(self)


def kl_decomposition(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_samples: int = 1,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> KLDecomposition:
    r"""Split the KL of the ELBO, averaged over the data, into its parts.

    With the aggregate posterior of the given data, :math:`q(z) = \frac{1}{n} \sum_i q(z|x_i)`,

    .. math::
        \frac{1}{n} \sum_i KL(q(z|x_i) \,\|\, p(z)) = I(x; z) + KL(q(z) \,\|\, p(z))

    (Hoffman and Johnson 2016, section 2), and for a prior of independent latents

    .. math::
        KL(q(z) \,\|\, p(z)) =
        KL\Big(q(z) \,\Big\|\, \prod_j q(z_j)\Big) + \sum_j KL(q(z_j) \,\|\, p(z_j)),

    the total correlation and the KL of each latent (Chen et al. 2018, equation 2; Kim and Mnih
    2018). The density q(z) is the exact sum over all n data, so the work grows as n². The KL of a
    datum is in closed form where torch has one. I(x; z) is the average of log q(z|x) - log q(z)
    over n num_samples draws, and the KL of each latent that of log q(z_j) - log p(z_j), with
    log q(z|x) - log p(z), whose mean is known, as control variate. KL(q(z) || p(z)) and, if the
    latents of the prior are independent, the total correlation are the remainders, so that the
    sums hold exactly.

    The marginals q(z_j|x) are known for independent latents, normals of any covariance and
    mixtures of normals; they are not for other flows, one-hot latents and the sphere. A prior that
    scores z by a bound, such as `pvae.priors.Nested`, makes KL(q(z) || p(z)) an upper bound.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any; the information is then that of x and y in z.
        num_samples: draws of z for each datum.
        memory: about how much to hold beyond the n posteriors, in MiB.
        seed: of the draws.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if x or y is invalid for the VAE, num_samples is below 1, the prior sees the
            labels, or the posterior is a point mass or cannot score points that it did not draw.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> parts = pvae.evaluation.kl_decomposition(vae, torch.ones(5, 1, 8, 8))
        >>> bool(parts.mutual_information.abs() < 1e-5)  # five data that are the same
        True
    """
    x, y = check_batch(vae, x, y)
    if "prior" in vae.conditional:
        raise ValueError(
            "The prior sees the labels, so there is no one p(z) to compare q(z) with: decompose "
            "the KL of a VAE whose prior does not."
        )
    check_size("num_samples", num_samples)
    size = PER_LATENT * vae.latent_shape.numel() * vae.dtype.itemsize
    side = min(rows_within(vae, memory), max(1, math.isqrt(int(memory * 2**20 / size))))
    each_kl, found, expected, information, dependence, single = [], [], [], [], [], []
    with (
        vae.evaluating(),
        seeded(seed, vae.device),
        dist.validation_enabled(False),  # validation of all pairs would take most of the time
        counted(len(x) * num_samples, progress, "draws") as shown,
    ):
        p = vae.p_z()
        p_each = _marginals(p) if isinstance(p, INDEPENDENT) else None
        posteriors = _posteriors(vae, x, y, side)
        for q in posteriors:
            portion = []
            for draws in portions(num_samples, side // q.batch_shape.numel()):
                z = q.sample((draws,))
                log_q_own = q.log_prob(z)
                portion.append(log_q_own - p.log_prob(z))
                log_q, log_q_each = _aggregate(posteriors, z.flatten(0, 1))
                information.append(log_q_own.flatten() - log_q)
                if log_q_each is not None:
                    dependence.append(log_q - log_q_each.sum(-1))
                    if p_each is not None:
                        single.append(log_q_each - p_each.log_prob(z).flatten(0, 1))
                shown.update(len(log_q))
            own = torch.cat(portion)
            each_kl.append(_kl(q, p, own))
            expected.append(each_kl[-1].expand_as(own).flatten())
            found.append(own.flatten())
    kl, mutual_information = torch.cat(each_kl), torch.cat(information).mean()
    marginal_kl = kl.mean() - mutual_information
    correlation = torch.cat(dependence).mean() if dependence else None
    dimension_wise = None
    if single:
        dimension_wise = _average(torch.cat(single), torch.cat(found), torch.cat(expected))
        correlation = marginal_kl - dimension_wise.sum()
    return KLDecomposition(kl, mutual_information, marginal_kl, correlation, dimension_wise)


class ActiveUnits(NamedTuple):
    """The latents that a VAE uses.

    Attributes:
        variance: Var E[z|x] over the data, shape (d,).
        active: whether it is above the threshold, shape (d,).
        count: the number of active latents.
    """

    variance: Tensor
    active: Tensor
    count: int  # type: ignore[assignment]  # it hides the method of tuples

    def __repr__(self) -> str:
        return described(self)


class _Means(NamedTuple):
    """E[z|x] of each datum, and the variance of its error if it is an average of draws."""

    mean: Tensor
    error: Tensor


def active_units(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    threshold: float = 0.01,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> ActiveUnits:
    r"""Find the latents whose posterior mean varies with the data.

    A latent is active (Burda, Grosse, Salakhutdinov 2016, section 5.2) if

    .. math::
        \mathrm{Var}_x\, E_{q(z_j|x)}[z_j] > 0.01.

    The variance over the given data is estimated without bias. If the mean has no closed form, as
    for most flows, it is the average of 100 draws, and the variance of its error is subtracted.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain, with n at least 2.
        y: their labels, if the VAE has any.
        threshold: the variance above which a latent is active.
        memory: about how much to hold, in MiB.
        seed: of the draws, if there are any.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if x or y is invalid for the VAE, or x is one datum.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> pvae.evaluation.active_units(vae, torch.ones(5, 1, 8, 8)).count  # all the same
        0
    """
    x = as_batch(vae, x)
    if not is_real(threshold):
        raise ValueError(f"threshold is {shown(threshold)}: give a number.")
    if len(x) == 1:
        raise ValueError("x has 1 datum, and a variance needs more: give at least 2.")

    def estimate(x: Tensor, y: Tensor | None) -> _Means:
        q = vae.encode(x, y)
        try:
            return _Means(q.mean, torch.zeros_like(q.mean))
        except NotImplementedError:
            z = q.sample((SAMPLES,))
            return _Means(z.mean(0), z.var(0) / SAMPLES)

    mean, error = per_datum(
        estimate, vae, x, y, rows=SAMPLES, memory=memory, seed=seed, progress=progress
    )
    variance = mean.var(0) - error.mean(0)
    active = variance > threshold
    return ActiveUnits(variance, active, int(active.sum()))


def _posteriors(
    vae: VAE, x: Tensor, y: Tensor | None, at_once: int
) -> list[dist.TorchDistribution]:
    """q(z|x) of all data, in chunks; raises if they cannot score points that they did not draw."""
    chunks = split(at_once, x, y)
    found = [vae.encode(part.to(vae.device, vae.dtype), label) for part, label in chunks]
    name = type(vae.posterior).__name__
    if isinstance(found[0], dist.Delta):
        raise ValueError(f"The posterior {name} is a point mass, whose KL to a prior is infinite.")
    try:
        found[0].log_prob(found[0].sample().clone())
    except NotImplementedError as error:
        raise ValueError(
            f"The posterior {name} can score only its own draws, and q(z) needs the density of "
            "each datum's posterior at the draws of all others: choose a posterior with an inverse "
            "in closed form."
        ) from error
    return found


def _aggregate(posteriors: Sequence[Distribution], z: Tensor) -> tuple[Tensor, Tensor | None]:
    """log q(z), shape (m,), and log q(z_j), shape (m, d), at m draws, by the sum over all data."""
    joint, each = [], []
    for q in posteriors:
        # Not every flow broadcasts its context.
        pairs = z.unsqueeze(1).expand(-1, *q.batch_shape, -1)
        single = _marginals(q)
        if single is None:
            log_q = q.log_prob(pairs)
        else:
            table = single.log_prob(pairs)
            each.append(table.logsumexp(1))
            log_q = table.sum(-1) if isinstance(q, INDEPENDENT) else q.log_prob(pairs)
        joint.append(log_q.logsumexp(1))
    log_n = math.log(sum(q.batch_shape.numel() for q in posteriors))
    log_q = torch.stack(joint).logsumexp(0) - log_n
    return log_q, torch.stack(each).logsumexp(0) - log_n if each else None


def _marginals(q: Distribution) -> Distribution | None:
    """The distributions of the single latents, of batch shape (*batch, d), if they are known."""
    if isinstance(q, Independent):
        return q.base_dist
    if isinstance(q, MultivariateNormal | LowRankMultivariateNormal | RotatedNormal):
        return dist.Normal(q.mean, q.variance.sqrt())
    if isinstance(q, NormalMixture):
        normals = q.component_distribution.base_dist
        weights = q.mixture_distribution.logits.unsqueeze(-2)
        return dist.MixtureSameFamily(
            dist.Categorical(logits=weights.expand(normals.loc.mT.shape)),
            dist.Normal(normals.loc.mT, normals.scale.mT),
        )
    return dist.Bernoulli(logits=q.logits) if isinstance(q, RelaxedBernoulli) else None


def _kl(q: Distribution, p: Distribution, at_draws: Tensor) -> Tensor:
    """KL(q || p) in closed form, or the average of log q - log p at draws."""
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return at_draws.mean(0)


def _average(values: Tensor, found: Tensor, expected: Tensor) -> Tensor:
    """The mean over draws, with a control variate whose expectation is known.

    Differences of the expectation between data are not errors: the slope is that within data.
    """
    found, expected = found.flatten(), expected.flatten()
    error = found - expected
    level, control = expected - expected.mean(), error - error.mean()
    finfo = torch.finfo(error.dtype)
    control = control - level * (level @ control) / (level @ level).clamp_min(finfo.tiny)
    # With few draws it may consist of rounding errors only: the latents then share the error.
    usable = control @ control > (1e3 * finfo.eps) ** 2 * (error @ error) + finfo.tiny
    slope = torch.tensordot(control, values, 1) / torch.where(usable, control @ control, 1)
    slope = torch.where(usable, slope, 1 / values.shape[-1])
    return values.mean(0) - slope * error.mean()
