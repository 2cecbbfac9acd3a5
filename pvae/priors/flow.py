"""The normalizing-flow prior."""

from collections.abc import Sequence
from typing import Literal

import pyro.distributions as dist
import torch
from pyro.distributions.transforms import AffineCoupling, Permute
from torch import Tensor, nn
from torch.distributions import Transform

from pvae.checks import check_shape, check_size
from pvae.distributions.affine_autoregressive import AffineAutoregressive
from pvae.distributions.spline_coupling import SplineCoupling
from pvae.messages import shown
from pvae.networks.mlp import MLP
from pvae.priors.masked import masked_network

BINS, BOUND = 8, 5.0


class Flow(nn.Module):
    r"""N(0, I) through learned invertible layers f = f_L ... f_1, the order reversed between them.

    .. math::
        \log p(z) = \log N(f^{-1}(z); 0, I) + \log |\det \partial f^{-1}(z) / \partial z|

    ==========================  ================================  ========  ========
    kind                        layers                            density   a draw
    ==========================  ================================  ========  ========
    ``affine_coupling``         of RealNVP (Dinh et al. 2017)     1 pass    1 pass
    ``spline_coupling``         rational-quadratic splines        1 pass    1 pass
                                (Durkan et al. 2019)
    ``masked_autoregressive``   MAF (Papamakarios et al. 2017)    1 pass    d passes
    ``inverse_autoregressive``  IAF (Kingma et al. 2016)          d passes  1 pass
    ==========================  ================================  ========  ========

    Training a VAE takes densities of the posterior's samples, so an inverse autoregressive flow is
    slow as a prior and meant for comparison. Splines are the identity outside of [-5, 5]. A flow
    prior makes the variational lossy autoencoder of Chen et al. (2017).

    Args:
        latent_dim: the number of latents d, at least 2.
        kind: one of the four.
        layers: the number of layers L.
        hidden: sizes of the hidden layers of each layer's network; for autoregressive kinds each
            at least latent_dim.

    Raises:
        ValueError: if the kind is not one of the four, or a size is too small.

    Example:
        >>> import torch
        >>> from pvae.priors import Flow
        >>> Flow(3, kind="spline_coupling", layers=2)().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    loc: Tensor
    scale: Tensor
    reversed: Tensor

    def __init__(
        self,
        latent_dim: int,
        kind: Literal[
            "affine_coupling", "spline_coupling", "masked_autoregressive", "inverse_autoregressive"
        ] = "affine_coupling",
        layers: int = 4,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__()
        if check_size("latent_dim", latent_dim) < 2:
            raise ValueError(
                "latent_dim is 1: a flow needs 2 latents that depend on each other; use Mixture."
            )
        check_size("layers", layers)
        hidden = check_shape("hidden", hidden)
        self.split = latent_dim // 2
        moved = latent_dim - self.split
        networks: Sequence[nn.Module]
        if kind == "affine_coupling":
            networks = [MLP((self.split,), (2 * moved,), hidden) for _ in range(layers)]
        elif kind == "spline_coupling":
            outputs = moved * (3 * BINS - 1)
            networks = [MLP((self.split,), (outputs,), hidden) for _ in range(layers)]
        elif kind in ("masked_autoregressive", "inverse_autoregressive"):
            networks = [masked_network(latent_dim, hidden, outputs=[1, 1]) for _ in range(layers)]
        else:
            raise ValueError(
                f"kind is {shown(kind)}: it must be 'affine_coupling', 'spline_coupling', "
                "'masked_autoregressive' or 'inverse_autoregressive'."
            )
        self.kind = kind
        self.networks = nn.ModuleList(networks)
        # Buffers follow the module to its device and dtype.
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)
        self.register_buffer("reversed", torch.arange(latent_dim).flip(0), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        # Transforms cache their last result: new ones keep the cache local to this p(z).
        first, *others = map(self._layer, self.networks)
        transforms = [first]
        for layer in others:
            transforms += [Permute(self.reversed), layer]
        return _Flow(dist.Normal(self.loc, self.scale).to_event(1), transforms)

    def _layer(self, network: nn.Module) -> Transform:
        if self.kind == "affine_coupling":
            return AffineCoupling(self.split, lambda z: network(z).chunk(2, -1))
        if self.kind == "spline_coupling":
            return SplineCoupling(self.split, network, BINS, BOUND)
        inverse = AffineAutoregressive(network)
        return inverse.inv if self.kind == "masked_autoregressive" else inverse


class _Flow(dist.TransformedDistribution):
    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density, without the cache of the transforms."""
        # A draw without gradients is cached with its inverse, by the identity of its tensor,
        # so that its density would have no gradients. A view is another tensor.
        return super().log_prob(value.view_as(value))
