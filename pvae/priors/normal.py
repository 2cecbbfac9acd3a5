"""The normal prior with a learned mean and scale."""

import pyro.distributions as dist

from pvae.priors.location_scale import LocationScale


class Normal(LocationScale):
    r"""Independent normal latents, with mu and sigma learned.

    .. math::
        p(z) = \prod_i N(z_i; \mu_i, \sigma_i^2)

    It is initialized to N(0, I). The networks of a diagonal normal posterior can shift and rescale
    the latents as well, so a learned mean and scale matter only if they cannot: for posteriors of
    fixed scale, or networks that shrink their input.

    Args:
        latent_dim: the number of latents d.

    Raises:
        ValueError: if latent_dim is below 1.

    Example:
        >>> from pvae.priors import Normal
        >>> Normal(3)().event_shape
        torch.Size([3])
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim, learned=True)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return dist.Normal(self.loc, self.scale).to_event(1)
