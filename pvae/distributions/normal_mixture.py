"""A mixture of diagonal normals whose draws have gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pvae.distributions.mixture import Mixture


class NormalMixture(Mixture):
    r"""A mixture of diagonal normals with pathwise gradients.

    .. math::
        q(z) = \sum_k \pi_k\, N(z; \mu_k, \mathrm{diag}\, \sigma_k^2)

    Draws choose a component, so they are not a smooth function of pi. But the conditional
    distribution function of each coordinate,

    .. math::
        F_i(z_i | z_{<i}) = \sum_k p(k | z_{<i})\, \Phi((z_i - \mu_{ki}) / \sigma_{ki}),

    is uniform for all parameters theta, and holding it fixed defines the derivative of z by them
    (implicit reparameterization, Graves 2016; Figurnov, Mohamed, Mnih 2018):

    .. math::
        dz_i = -\frac{\partial F_i / \partial\theta\; d\theta
            + \partial F_i / \partial z_{<i}\; dz_{<i}}{q(z_i | z_{<i})}

    These gradients are unbiased for all parameters, including pi.

    Args:
        weights: a `Categorical` of K categories, of batch shape batch.
        components: normals of event shape (d,), by ``to_event(1)``, of batch shape (\*batch, K).

    Shape:
        values of (\*batch, d).

    Raises:
        ValueError: if the numbers of weights and components differ.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from pvae.distributions import NormalMixture
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> normals = dist.Normal(torch.tensor([[0.0], [1.0]]), 1.0).to_event(1)
        >>> NormalMixture(dist.Categorical(logits=logits), normals).rsample().sum().backward()
        >>> bool(logits.grad[1] > 0)
        True
    """

    has_rsample = True

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw, with gradients by implicit reparameterization."""
        z = self.sample(sample_shape)
        normals = self.component_distribution.base_dist
        log_weight = self.mixture_distribution.logits  # log p(k | z_{<i}) up to a constant
        moving = []
        for i in range(z.shape[-1]):
            loc, scale = normals.loc[..., i], normals.scale[..., i]
            weight = log_weight.softmax(-1)
            standard = (z[..., i : i + 1] - loc) / scale
            cdf = (weight * torch.special.ndtr(standard)).sum(-1)
            with torch.no_grad():
                heights = (-0.5 * standard.square()).exp() / (scale * (2 * torch.pi) ** 0.5)
                density = (weight * heights).sum(-1)
            z_i = z[..., i] - (cdf - cdf.detach()) / density
            moving.append(z_i)
            standard = (z_i.unsqueeze(-1) - loc) / scale
            log_weight = log_weight - 0.5 * standard.square() - scale.log()
        return torch.stack(moving, -1)
