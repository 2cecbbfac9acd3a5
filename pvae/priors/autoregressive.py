"""The autoregressive prior."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import check_size
from pvae.distributions.autoregressive import Autoregressive as AutoregressiveDistribution
from pvae.distributions.mixture import Mixture
from pvae.priors.masked import masked_network
from pvae.priors.mixture import first_components


class Autoregressive(nn.Module):
    r"""A prior in which each latent is a mixture of K Gaussians that depends on those before it.

    .. math::
        p(z) = \prod_i \sum_k w_{ik} \, N(z_i; \mu_{ik}, \sigma_{ik}^2)

    with w, mu and sigma of latent i functions of z_1, ..., z_{i-1} by one masked network (MADE,
    Germain et al. 2015; with mixtures as in RNADE, Uria et al. 2013). With one component it is
    one layer of a masked autoregressive flow; with more, each conditional may have many modes.

    A density takes one pass through the network, a draw one for each latent. Draws have no
    gradient. The KL from a posterior is estimated from the posterior's samples.

    Args:
        latent_dim: the number of latents d, at least 2.
        components: the number of Gaussians K of each latent.
        hidden: sizes of the hidden layers, each at least latent_dim.

    Raises:
        ValueError: if a size is too small.

    Example:
        >>> from pvae.priors import Autoregressive
        >>> Autoregressive(3)().sample((5,)).shape
        torch.Size([5, 3])
    """

    start: Tensor

    def __init__(
        self, latent_dim: int, components: int = 5, hidden: Sequence[int] = (128, 128)
    ) -> None:
        super().__init__()
        self.components = check_size("components", components)
        self.network = masked_network(latent_dim, hidden, outputs=[3 * components])
        with torch.no_grad():
            bias = self.network.layers[-1].get_parameter("bias").view(3, components, latent_dim)
            bias[1], bias[2] = first_components(components, latent_dim)
        self.register_buffer("start", torch.zeros(latent_dim), persistent=False)

    def conditionals(self, z: Tensor) -> dist.TorchDistribution:
        r"""Return every p(z_i | z_1, ..., z_{i-1}), as one batch of shape (\*batch, latent_dim)."""
        raw = self.network(z).unflatten(-2, (3, self.components)).movedim(-2, -1)
        logits, loc, log_scale = raw.unbind(-3)
        return Mixture(dist.Categorical(logits=logits), dist.Normal(loc, log_scale.exp()))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return AutoregressiveDistribution(self.conditionals, self.start)
