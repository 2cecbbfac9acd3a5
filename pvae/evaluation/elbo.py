"""The evidence lower bound of each datum, and its parts."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from pvae.evaluation.batching import check_vae
from pvae.evaluation.results import described
from pvae.inputs import as_data
from pvae.vae import VAE


class ELBO(NamedTuple):
    """An estimate of the ELBO of each datum, in nats; ``elbo = log_likelihood - kl``.

    Attributes:
        elbo: lower bound of log p(x), shape (n,).
        log_likelihood: E[log p(x|z)] under q(z|x), shape (n,).
        kl: KL(q(z|x) || p(z)), shape (n,).
    """

    elbo: Tensor
    log_likelihood: Tensor
    kl: Tensor

    def __repr__(self) -> str:
        return described(self)


def elbo(vae: VAE, x: Tensor, y: Tensor | None = None) -> ELBO:
    r"""Estimate the ELBO of each datum with one sample of z.

    .. math::
        \log p(x) \ge E_{q(z|x)}[\log p(x|z)] - KL(q(z|x) \,\|\, p(z))

    The KL is in closed form where torch has one for the pair (Kingma and Welling 2014, appendix
    B, for normals), else log q(z|x) - log p(z) at the sample.

    Without labels, a VAE with a classifier has the bound of Kingma, Mohamed, Rezende and Welling
    (2014, eq. 7), an exact sum over classes, whose KL includes that of q(y|x) from p(y):

    .. math::
        \log p(x) \ge \sum_y q(y|x) \bigl( E_{q(z|x, y)}[\log p(x|z, y)]
        - KL(q(z|x, y) \,\|\, p(z|y)) \bigr) - KL(q(y|x) \,\|\, p(y))

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.

    Raises:
        ValueError: if x has another event shape or values outside the likelihood's support, or y is
            missing or not a label.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> pvae.evaluation.elbo(vae, torch.ones(5, 1, 8, 8)).kl.shape
        torch.Size([5])
    """
    check_vae(vae)
    x = as_data(vae, x)
    if y is None and vae.classifier is not None:
        return _summed(vae, x)
    q, p = vae.q_z(x, y), vae.p_z(y)
    z = q.rsample() if q.has_rsample else q.sample()
    log_likelihood = vae.decode(z, y, like=x).log_prob(x)
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        kl = q.log_prob(z) - p.log_prob(z)
    return ELBO(log_likelihood - kl, log_likelihood, kl)


def _summed(vae: VAE, x: Tensor) -> ELBO:
    """The sum over all classes."""
    assert vae.classifier is not None
    q = vae.classifier(vae.features(x))
    y = torch.arange(q.probs.shape[-1], device=x.device)
    given = elbo(vae, x.unsqueeze(1).expand(-1, len(y), *x.shape[1:]), y)
    log_likelihood, kl = ((q.probs * term).sum(-1) for term in given[1:])
    kl = kl + kl_divergence(q, vae.labels.prior())
    return ELBO(log_likelihood - kl, log_likelihood, kl)
