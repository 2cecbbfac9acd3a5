"""Finite scalar quantization."""

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_shape, check_size
from pvae.distributions.codes import Codes, QuantizedDelta
from pvae.messages import shown
from pvae.posteriors.quantized import Quantized

MARGIN = 1e-3  # by which the outermost levels are kept from saturation


class FSQ(Quantized):
    r"""Finite scalar quantization (Mentzer et al. 2023): each latent rounded to one of few levels.

    .. math::
        q(z|x) = \delta(z - \mathrm{round}(f(r(x)))), \quad
        f(r) = \tfrac{L - 1}{2} \tanh(r + s) - o

    with o = 1/2 for an even number of levels L and else 0, and s such that f(0) = 0, or for two
    levels s = 0, as f(r) is 0 only where tanh is saturated; values are
    divided by floor(L / 2), to lie in [-1, 1]. The network returns r. Rounding passes gradients
    straight through to f. Latents in groups of one for each of the ``levels`` are a code, so that
    there are as many codes as combinations of levels, at every position; there is no codebook to
    learn, and no further loss.

    z is discrete: q is a mass of 1 on a single outcome, and the ELBO with a prior over codes,
    `pvae.priors.UniformCodes`, is log p(x|z) − positions × log(number of codes), minus the length
    of a code of x in nats. `pvae.refit_prior` replaces the prior by `pvae.priors.PixelCNN`.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents, positions times the number of ``levels``.
        network: maps event_shape to (latent_dim,): a module, or a factory that takes the two
            shapes; ``None`` for an `MLP`.
        levels: the number of levels of each latent of a code, at least 2.
        grid: the numbers of rows and columns of positions; ``None`` for a single row.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape
        (latent_dim,).

    Raises:
        ValueError: if a number of levels is below 2, the latents are not one for each level and
            position, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import FSQ
        >>> posterior = FSQ((7,), 6, levels=(3, 3))
        >>> posterior.codes
        Codes(9 vectors, grid 3)
        >>> set(posterior(torch.randn(5, 7)).sample().unique().tolist()) <= {-1.0, 0.0, 1.0}
        True
    """

    reach: Tensor
    offset: Tensor
    shift: Tensor
    width: Tensor
    codebook: Tensor

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        levels: Sequence[int] = (8, 5, 5, 5),
        grid: Sequence[int] | None = None,
    ) -> None:
        levels = check_shape("levels", levels)
        if min(levels) < 2:
            raise ValueError(
                f"levels is {shown(levels)}: each number of levels must be at least 2."
            )
        positions = check_size("latent_dim", latent_dim) // len(levels)
        grid = (positions,) if grid is None else check_shape("grid", grid)
        if latent_dim != math.prod(grid) * len(levels) or positions < 1:
            raise ValueError(
                f"latent_dim is {latent_dim}: it must be the {len(levels)} latents of a code times "
                "the number of positions."
            )
        super().__init__(event_shape, latent_dim, grid, network)
        number = torch.tensor(levels, dtype=torch.get_default_dtype())
        half = (number - 1) * (1 + MARGIN) / 2
        offset = 0.5 * (number % 2 == 0)
        width = (number / 2).floor()
        steps = [torch.arange(count) - count // 2 for count in levels]
        codebook = torch.cartesian_prod(*steps).reshape(-1, len(levels)) / width
        for name, value in {
            "reach": half,
            "offset": offset,
            "shift": torch.where(number > 2, offset / half, 0.0).atanh(),
            "width": width,
            "codebook": codebook,
        }.items():
            self.register_buffer(name, value, persistent=False)

    @property
    def codes(self) -> Codes:
        """The space of the codes."""
        return Codes(self.codebook, self.grid)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        (raw,) = self.raw(x)
        raw = raw.unflatten(-1, (-1, self.dim))
        bounded = (raw + self.shift).tanh() * self.reach - self.offset
        # The value is exactly that of the codebook, and the gradient that before rounding.
        z = bounded.detach().round() / self.width + (bounded - bounded.detach()) / self.width
        return QuantizedDelta(z.flatten(-2), self.codes)
