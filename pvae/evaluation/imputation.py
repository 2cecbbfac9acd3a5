"""Imputation of missing data, and denoising: expectations under p(z|x)."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from pvae.checks import check_size
from pvae.distributions.elements import element_support, elements
from pvae.distributions.padded import Padded, padding
from pvae.evaluation.batching import (
    MEMORY,
    as_batch,
    check_labels,
    per_datum,
    portions,
    rows_within,
)
from pvae.evaluation.importance import effective_sample_size, log_mean, proposal_of
from pvae.evaluation.results import described
from pvae.interfaces import option
from pvae.marginal import Marginal
from pvae.messages import shown
from pvae.seeds import seeded
from pvae.vae import VAE

GUESSES = 30  # guesses of the missing elements, each encoded to a proposal for z
ROUNDS = 5  # rounds of guessing, which together take as many draws as the result
DEFENSIVE = 0.1  # the fraction of the draws that is from the prior
CHAINS = 4  # chains of NUTS

Score = Callable[[dist.TorchDistribution], Tensor]
"""A function from p(x|z), of batch shape (k, n), to its log-density at the observed elements."""


class Imputed(NamedTuple):
    r"""Data with imputed missing elements.

    Attributes:
        x: the observed elements unchanged, E[x_missing | x_observed] elsewhere, shape
            (n, \*event_shape).
        effective_sample_size: the equivalent number of independent draws of p(z | x_observed),
            shape (n,).
        log_prob: an estimate of log p(x_observed), in nats, shape (n,).
        draws: multiple imputations, the observed elements with draws of p(x_missing | x_observed)
            elsewhere, shape (draws, n, \*event_shape).
    """

    x: Tensor
    effective_sample_size: Tensor
    log_prob: Tensor
    draws: Tensor

    def __repr__(self) -> str:
        return described(self)


class Denoised(NamedTuple):
    r"""Data without the noise of the likelihood.

    Attributes:
        x: the mean, given x, of another draw from p(x|z), shape (n, \*event_shape).
        effective_sample_size: the equivalent number of independent draws of p(z|x), shape (n,).
    """

    x: Tensor
    effective_sample_size: Tensor

    def __repr__(self) -> str:
        return described(self)


def impute(
    vae: VAE,
    x: Tensor,
    mask: Tensor,
    y: object = None,
    *,
    num_samples: int = 1000,
    draws: int = 0,
    method: Literal["importance", "nuts"] = "importance",
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> Imputed:
    r"""Impute missing elements by their expectation given those observed.

    .. math::
        E[x_m | x_o] = E_{p(z|x_o)} E[x_m|z], \qquad
        p(z|x_o) \propto p(z) \prod_{i \in o} p(x_i|z)

    *Importance sampling* (Mattei and Frellsen 2019) weights draws of a proposal r(z) by
    w = p(z) p(x_o|z) / r(z). Here r is a mixture: 10 % the prior, the rest the encoder's q at 30
    guesses of x_m. Each draw is weighted by the density of the whole mixture, so that no weight
    exceeds ten times p(x_o|z) (Owen and Zhou 2000). The first guesses are decoded from draws of the
    prior, resampled by their weights; then four times draws of r are resampled, and x_m is drawn
    from p(x_m|z) for new guesses: the population Monte Carlo of Cappé et al. (2004), with steps of
    the pseudo-Gibbs sampling of Rezende, Mohamed and Wierstra (2014, appendix F). Draws of
    posteriors that score only their own draws (planar and Sylvester flows) are weighted by their
    own q, and a prior that is itself a VAE, whose density is only estimated, is not part of r.

    *NUTS* (Hoffman and Gelman 2014) runs four chains from such draws, which share num_samples,
    after as many warm-up steps. It takes about a hundred times as long and needs continuous z; use
    it for a few data whose effective sample size stays low. The estimate of log p(x_o) is always
    that of importance sampling.

    Multiple imputations (Rubin 1987) are draws of x_m, which show its uncertainty; the expectation
    is smoother than any of them.

    Args:
        vae: the VAE, whose likelihood has a term for each element.
        x: shape (n, \*event_shape), in the likelihood's domain where observed, anything elsewhere.
        mask: which elements are observed, of booleans or 0 and 1, of a shape that broadcasts to
            that of x. The padding of a `pvae.likelihoods.Padded` is missing.
        y: their labels, if the VAE has any.
        num_samples: draws of z for each datum.
        draws: multiple imputations of each datum.
        method: ``"importance"`` or ``"nuts"``.
        memory: approximate limit of the memory used, in MiB.
        seed: of the random draws.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if the likelihood has no term for each element or the posterior is a point mass;
            the mask is of other values or shape; x is observed outside the likelihood's support or
            of another shape; the method is unknown, or NUTS on z that are not continuous.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> x = torch.ones(5, 1, 8, 8)
        >>> mask = torch.ones(8, 8)
        >>> mask[4:] = 0
        >>> found = pvae.evaluation.impute(vae, x, mask, num_samples=50, draws=3)
        >>> found.x.shape, found.draws.shape
        (torch.Size([5, 1, 8, 8]), torch.Size([3, 5, 1, 8, 8]))
    """
    if method not in ("importance", "nuts"):
        raise ValueError(f"method is {shown(method)}: it must be 'importance' or 'nuts'.")
    if draws != 0:
        check_size("draws", draws)
    x = as_batch(vae, x, values=False)
    y = check_labels(vae, x, y)
    observed = _check_mask(mask, x)
    if option(vae.likelihood, "padded"):
        observed = observed & ~padding(x, len(vae.event_shape))
    # Missing elements get any values in the support, until the guesses replace them.
    label = None if y is None else y[:1]
    anything = vae.sample(1, label, seed=seed, draw=True)
    _check_parts(vae, anything, label, method)
    filled = torch.where(observed, x, anything.to(x.device))

    def estimate(x: Tensor, y: Tensor | None, observed: Tensor) -> Imputed:
        return _impute(vae, x, observed, y, num_samples, draws, method, memory)

    options: dict[str, Any] = {"memory": memory, "seed": seed, "progress": progress}
    rows = max(check_size("num_samples", num_samples), GUESSES)
    found = per_datum(estimate, vae, filled, y, observed, rows=rows, **options)
    imputed, drawn = found.x.to(x.device), found.draws.to(x.device).transpose(0, 1)
    return found._replace(
        x=torch.where(observed, x, imputed), draws=torch.where(observed, x, drawn)
    )


def denoise(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_samples: int = 1000,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> Denoised:
    r"""Remove the noise of the likelihood: the expectation of another x of the same z.

    .. math::
        E[x'|x] = E_{p(z|x)} E[x'|z]

    by importance sampling: 90 % of the draws are from the encoder's q(z|x) and 10 % from the prior,
    all weighted by p(z) p(x|z) over the density of the mixture (Owen and Zhou 2000). This is the
    exact expectation, whereas `VAE.reconstruct` decodes a single z, the mean of q. The two differ
    if the posterior is wide, or if q differs from it.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_samples: draws of z for each datum.
        memory: approximate limit of the memory used, in MiB.
        seed: of the random draws.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if x or y is invalid for the VAE, or the posterior is a point mass.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> pvae.evaluation.denoise(vae, torch.ones(5, 1, 8, 8), num_samples=50).x.shape
        torch.Size([5, 1, 8, 8])
    """

    def estimate(x: Tensor, y: Tensor | None) -> Denoised:
        q = proposal_of(vae, x.unsqueeze(0), y)
        at_once = rows_within(vae, memory) // len(x)
        drawn = _weighed(vae, x, y, q, lambda p: p.log_prob(x), num_samples, at_once)
        mean, _, log_weight = _average(x, drawn)
        return Denoised(mean, effective_sample_size(log_weight))

    options: dict[str, Any] = {"memory": memory, "seed": seed, "progress": progress}
    return per_datum(estimate, vae, x, y, rows=check_size("num_samples", num_samples), **options)


# Imputation ------------------------------------------------------------------------------------


def _impute(
    vae: VAE,
    x: Tensor,
    observed: Tensor,
    y: Tensor | None,
    num_samples: int,
    draws: int,
    method: str,
    memory: float,
) -> Imputed:
    at_once = rows_within(vae, memory) // len(x)

    def log_likelihood(p: dist.TorchDistribution) -> Tensor:
        return _elements(p).mask(observed).to_event(len(vae.event_shape)).log_prob(x)

    q = _adapt(vae, x, observed, y, log_likelihood, -(-num_samples // ROUNDS), at_once)
    drawn = _weighed(vae, x, y, q, log_likelihood, num_samples, at_once)
    mean, z, log_weight = _average(x, drawn)
    log_prob, size = log_mean(log_weight), effective_sample_size(log_weight)
    if method == "nuts":
        start = _resample(z, log_weight, CHAINS)
        z, size = _nuts(vae, y, start, log_likelihood, num_samples)
        parts = z.split(max(1, at_once))
        even = ((part, torch.zeros_like(part[..., 0]), vae.decode(part, y)) for part in parts)
        mean, z, log_weight = _average(x, even)
    completed = x.new_empty(0, *x.shape)
    if draws:
        completed = _decoded(vae, _resample(z, log_weight, draws), y, at_once)
    return Imputed(mean, size, log_prob, completed.transpose(0, 1))


def _adapt(
    vae: VAE,
    x: Tensor,
    observed: Tensor,
    y: Tensor | None,
    log_likelihood: Score,
    num_samples: int,
    at_once: int,
) -> dist.TorchDistribution:
    """q(z|x) at guesses of the missing elements, of batch shape (GUESSES, n)."""
    q = vae.p_z(y).expand((1, len(x)))
    for _ in range(ROUNDS):
        drawn = _weighed(vae, x, y, q, log_likelihood, num_samples, at_once)
        z, log_weight = map(torch.cat, zip(*(part[:2] for part in drawn), strict=True))
        guess = _decoded(vae, _resample(z, log_weight, GUESSES), y, at_once)
        q = vae.q_z(torch.where(observed, x, guess), y)
    return q


def _decoded(vae: VAE, z: Tensor, y: Tensor | None, at_once: int) -> Tensor:
    r"""Sample x from p(x|z) for z of shape (k, n, latent_dim), in chunks."""
    return torch.cat([vae.decode(part, y).sample() for part in z.split(max(1, at_once))])


def _nuts(
    vae: VAE,
    y: Tensor | None,
    start: Tensor,
    log_likelihood: Score,
    num_samples: int,
) -> tuple[Tensor, Tensor]:
    """Sample p(z|x) by parallel chains; return also the effective sample size."""
    from pyro.infer import MCMC, NUTS
    from pyro.ops import stats

    prior = vae.p_z(y)

    def potential(sites: dict[str, Tensor]) -> Tensor:
        z = sites["z"]
        return -(prior.log_prob(z) + log_likelihood(vae.decode(z, y))).sum()

    steps = max(4, -(-num_samples // len(start)))
    kernel = NUTS(potential_fn=potential)
    chains = MCMC(
        kernel, steps, warmup_steps=steps, initial_params={"z": start}, disable_progbar=True
    )
    with torch.enable_grad():
        chains.run()
    z = chains.get_samples()["z"].detach()
    size = stats.effective_sample_size(z, chain_dim=1, sample_dim=0).amin(-1)
    # With few draws the estimate may exceed its range.
    return z.flatten(0, 1), size.clamp(1, steps * len(start))


# Importance sampling ---------------------------------------------------------------------------


def _weighed(
    vae: VAE,
    x: Tensor,
    y: Tensor | None,
    q: dist.TorchDistribution,
    log_likelihood: Score,
    num_samples: int,
    at_once: int,
) -> Iterator[tuple[Tensor, Tensor, dist.TorchDistribution]]:
    """Yield draws z, their log-weights and p(x|z), in portions."""
    prior = vae.p_z(y)
    for k in portions(num_samples, at_once):
        z, log_proposal = _propose(prior, q, k)
        p = vae.decode(z, y, like=x)
        yield z, prior.log_prob(z) + log_likelihood(p) - log_proposal, p


def _propose(
    prior: dist.TorchDistribution, q: dist.TorchDistribution, k: int
) -> tuple[Tensor, Tensor]:
    """Draw k samples per datum from the mixture of prior and q, with their log-density.

    Args:
        prior: of batch shape () or (n,).
        q: of batch shape (components, n).
        k: the number of draws.
    """
    # The density of a prior that is a VAE is an estimate, which is not valid within a mixture.
    share = 0.0 if isinstance(prior, Marginal) else DEFENSIVE
    components, n = q.batch_shape
    drawn = q.sample((-(-k // components),))  # as many of each component
    log_own = q.log_prob(drawn)  # first, since scoring other points clears a flow's cache
    # Which are left out, if k is not divisible, is random for each datum.
    which = torch.rand(drawn[..., 0].shape, device=drawn.device).flatten(0, 1).argsort(0)[:k]
    z = drawn.flatten(0, 1).take_along_dim(which.unsqueeze(-1), 0)
    defensive = torch.rand(k, n, device=z.device) < share
    mixed = torch.where(defensive.unsqueeze(-1), prior.expand((n,)).sample((k,)), z)
    try:
        log_q = q.log_prob(mixed.unsqueeze(1)).logsumexp(1) - math.log(components)
    except NotImplementedError:
        return z, log_own.flatten(0, 1).take_along_dim(which, 0)
    if not share:
        return mixed, log_q
    log_prior = prior.log_prob(mixed) + math.log(share)
    return mixed, torch.logaddexp(log_prior, log_q + math.log1p(-share))


def _average(
    x: Tensor, drawn: Iterable[tuple[Tensor, Tensor, dist.TorchDistribution]]
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The weighted mean of E[x|z], of the shape of x, and all draws and log-weights."""
    mean, norm, zs, log_weights = torch.zeros_like(x), x.new_full((len(x),), -torch.inf), [], []
    for z, log_weight, p in drawn:
        before, norm = norm, torch.logaddexp(norm, log_weight.logsumexp(0))
        part = torch.einsum("kn,kn...->n...", (log_weight - norm).exp(), _means(p))
        mean = torch.einsum("n,n...->n...", (before - norm).exp(), mean) + part
        zs.append(z)
        log_weights.append(log_weight)
    return mean, torch.cat(zs), torch.cat(log_weights)


def _means(p: dist.TorchDistribution) -> Tensor:
    """E[x|z], or if it has no closed form a draw, whose average over z is the same."""
    try:
        return p.mean
    except NotImplementedError:
        return p.sample()


def _resample(z: Tensor, log_weight: Tensor, draws: int) -> Tensor:
    """Resample weighted draws to draws of the posterior, shape (draws, n, latent_dim)."""
    index = dist.Categorical(logits=log_weight.T).sample((draws,))
    return z[index, torch.arange(z.shape[1], device=z.device)]


# Checks ----------------------------------------------------------------------------------------


def _check_parts(vae: VAE, x: Tensor, y: Tensor | None, method: str) -> None:
    """Raise if imputation does not apply to these parts."""
    if y is None and vae.classifier is not None and "likelihood" in vae.conditional:
        raise ValueError(
            "Imputation needs the labels y of data: without them elements of x depend on each "
            "other by the class; vae.classify(x).probs.argmax(-1) chooses some."
        )
    with vae.evaluating(), seeded(0, vae.device):
        prior = vae.p_z(y)
        proposal_of(vae, x, y)
        p = vae.decode(prior.expand((1,)).sample(), y)
    if _elements(p).event_shape or option(vae.likelihood, "takes_total"):
        raise ValueError(
            f"{type(vae.likelihood).__name__} needs all elements of x at once to score any: impute "
            "with a likelihood of independent elements, of counts one without exposure='observed', "
            "the total of each datum."
        )
    if method == "nuts" and not _is_smooth(prior):
        raise ValueError(
            f"method 'nuts' needs a density over continuous z, which {type(vae.prior).__name__} "
            "does not have: use method 'importance'."
        )


def _is_smooth(prior: dist.TorchDistribution) -> bool:
    """Whether the density is exact, with support on all real vectors."""
    of_elements = element_support(prior.support)
    return isinstance(of_elements, type(constraints.real)) and not isinstance(prior, Marginal)


def _elements(p: dist.TorchDistribution) -> dist.TorchDistribution:
    """The distribution of single elements, of padded sequences as well."""
    return elements(p.base_dist if isinstance(p, Padded) else p)


def _check_mask(mask: object, x: Tensor) -> Tensor:
    """Return which elements are observed, a tensor of booleans of the shape of x."""
    try:
        mask = torch.as_tensor(mask, device=x.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"mask has type {type(mask).__name__}: give a tensor, True where x is observed."
        ) from error
    if mask.layout != torch.strided:
        raise ValueError("mask is a sparse tensor: give mask.to_dense().")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("mask has values other than 0 and 1: give True where x is observed.")
    try:
        return mask.bool().expand(x.shape)
    except RuntimeError as error:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: it must broadcast to that of x, {tuple(x.shape)}."
        ) from error
