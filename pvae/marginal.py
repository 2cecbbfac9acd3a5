"""The marginal distribution p(x) of a VAE."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

from pvae.interfaces import Model


class Marginal(dist.TorchDistribution):
    r"""The marginal p(x) = ∫ p(z) p(x|z) dz of a VAE, scored by a bound.

    Samples are exact. The log-density is estimated by one draw of z from the posterior,

    .. math::
        \log p(z) + \log p(x|z) - \log q(z|x), \qquad z \sim q(z|x)

    whose mean is the ELBO and whose exponential is unbiased for p(x). So a VAE with this prior has
    the ELBO of the hierarchical model with posterior q(z1|x) q(z2|z1), and importance-weighted
    bounds hold over all levels jointly.

    Args:
        vae: the VAE; without labels, and with a posterior that has reparameterized draws.
        batch_shape: the batch shape.

    Raises:
        ValueError: if the VAE has labels.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((3,), latent_dim=2, likelihood=pvae.likelihoods.Gaussian)
        >>> p = vae()
        >>> p.log_prob(p.sample((5,))).shape
        torch.Size([5])
    """

    arg_constraints = {}  # noqa: RUF012  (torch's convention)

    def __init__(self, vae: Model, batch_shape: Sequence[int] = Size()) -> None:
        if vae.labels is not None:
            raise ValueError("A conditional VAE is a distribution only given its labels.")
        self.vae = vae
        super().__init__(torch.Size(batch_shape), vae.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The support of the data."""
        with torch.no_grad():
            like = self.vae.prior().sample()
            return self.vae.likelihood(like).support

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "Marginal":
        """Expand to another batch shape."""
        return Marginal(self.vae, torch.Size(batch_shape))

    def sample(self, sample_shape: Sequence[int] = Size()) -> Tensor:
        """Draw z, then x."""
        with torch.no_grad():
            z = self.vae.prior().sample(torch.Size(sample_shape) + self.batch_shape)
            return self.vae.likelihood(z).sample()

    def log_prob(self, x: Tensor) -> Tensor:
        """Estimate the log-density by one draw of z from the posterior."""
        p, q = self.vae.prior(), self.vae.q_z(x)
        z = q.rsample() if q.has_rsample else q.sample()
        score = p.log_prob(z) + self.vae.decode(z, like=x).log_prob(x) - q.log_prob(z)
        shape = torch.broadcast_shapes(score.shape, self.batch_shape)
        return score.expand(shape)
