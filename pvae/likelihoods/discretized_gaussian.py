"""The discretized Gaussian likelihood."""

from pvae.distributions.discretized_normal import DiscretizedNormal
from pvae.likelihoods.discretized import Discretized


class DiscretizedGaussian(Discretized):
    r"""Independent levels, each a Gaussian rounded to 0 to K - 1 (Ho, Jain, Abbeel 2020).

    .. math::
        P(x|z) = \prod_i \left[\Phi\left(\frac{x_i + \frac12 - \mu_i(z)}{\sigma_i}\right)
                             - \Phi\left(\frac{x_i - \frac12 - \mu_i(z)}{\sigma_i}\right)\right]

    with Phi the standard normal distribution function, 0 below level 0 and 1 above level K - 1: a
    probability mass, whose bound is comparable in bits per dimension with those of other models of
    bytes.

    The network returns mu in units of the range K - 1, so that its outputs lie about [0, 1].

    The scale is a number, fixed; ``"learned"``, one number shared by all elements; ``"element"``,
    one for each element; or ``"predicted"``, one for each element and each z, from the network.
    It is in units of the range too; one that is not fixed is kept above 0.0001.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape, or for a predicted scale to twice as many outputs along
            the first dimension: a module, or a factory that takes the two shapes; ``None`` for an
            `MLP`.
        scale: a positive number, ``"learned"``, ``"element"`` or ``"predicted"``.
        levels: the number of levels K, at least 2.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if the scale is not one of the four, there are fewer than 2 levels, a
            size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import DiscretizedGaussian
        >>> DiscretizedGaussian(2, (1, 8, 8), levels=17)(torch.zeros(5, 2)).mean.shape
        torch.Size([5, 1, 8, 8])
    """

    distribution = DiscretizedNormal
