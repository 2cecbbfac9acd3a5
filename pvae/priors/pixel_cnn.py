"""A prior over codes by masked convolutions."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from pvae import distributions
from pvae.checks import check_size
from pvae.priors.codes import CodesPrior


class PixelCNN(CodesPrior):
    r"""An autoregressive prior over a grid of codes, by masked convolutions.

    .. math::
        p(z) = \prod_p p(z_p | z_1, \ldots, z_{p-1})

    row by row, with each factor categorical over the K codes of the posterior, `pvae.posteriors.VQ`
    or `pvae.posteriors.FSQ` (van den Oord, Kalchbrenner, Kavukcuoglu 2016): the PixelCNN, with
    codes in the place of pixels. Its residual layers see the row so far and the rows above, as far
    as (kernel - 1) / 2 positions each.

    A mass takes one pass through the network, a draw one for each position. Draws have no gradient.
    Usually it is fitted to a trained VAE by `pvae.refit_prior`.

    Args:
        latent_dim: the number of latents.
        hidden: channels of the hidden layers.
        layers: the number of residual layers.
        kernel: the side of the convolutions, an odd number of at least 3.

    Raises:
        ValueError: if a size is out of its range, or the posterior has no codes or other latents.
        RuntimeError: if it is called before it is connected.

    Example:
        >>> from functools import partial
        >>> import pvae
        >>> fsq = partial(pvae.posteriors.FSQ, levels=(4, 4), grid=(2, 3))
        >>> vae = pvae.build((1, 8, 8), 12, prior=pvae.priors.PixelCNN, posterior=fsq)
        >>> vae.p_z().sample((5,)).shape
        torch.Size([5, 12])
    """

    def __init__(self, latent_dim: int, hidden: int = 64, layers: int = 4, kernel: int = 3) -> None:
        super().__init__(latent_dim)
        self.hidden = check_size("hidden", hidden)
        self.layers = check_size("layers", layers)
        if check_size("kernel", kernel) < 3 or kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}: it must be an odd number of at least 3.")
        self.kernel = kernel
        self.network: MaskedNetwork | None = None

    def connect(self, posterior: nn.Module) -> None:
        """Set the posterior whose codes these are; existing weights of the right sizes are kept."""
        super().connect(posterior)
        book = self.codes.codebook
        size, dim = book.shape
        if self.network is None or (self.network.dim, self.network.size) != (dim, size):
            made = MaskedNetwork(dim, size, self.hidden, self.layers, self.kernel)
            self.network = made.to(book.device, book.dtype)

    def logits(self, z: Tensor) -> Tensor:
        r"""The logits of the codes at every position, shape (\*batch, P, K)."""
        grid, network = self.codes.grid, self.network
        assert network is not None  # it is made with the codes
        rows = grid if len(grid) == 2 else (1, *grid)
        each = z.reshape(-1, *rows, network.dim).movedim(-1, 1)
        logits = network(each).flatten(2).mT
        return logits.reshape(*z.shape[:-1], *logits.shape[1:])

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return distributions.AutoregressiveCodes(self.codes, self.logits)


class MaskedNetwork(nn.Module):
    """Residual masked convolutions, from a grid of codes to logits at each of its positions.

    Args:
        dim: the length of a code.
        size: the number of codes.
        hidden: channels of the hidden layers.
        layers: the number of residual layers.
        kernel: the side of the convolutions.
    """

    def __init__(self, dim: int, size: int, hidden: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.dim, self.size = dim, size
        self.first = MaskedConv(dim, hidden, kernel, own=False)
        self.residual = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                MaskedConv(hidden, hidden, kernel, own=True),
                nn.ReLU(),
                nn.Conv2d(hidden, hidden, 1),
            )
            for _ in range(layers)
        )
        self.last = nn.Conv2d(hidden, size, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Map shape (n, dim, rows, columns) to (n, size, rows, columns)."""
        h = self.first(z)
        for layer in self.residual:
            h = h + layer(h)
        return self.last(relu(h))


class MaskedConv(nn.Module):
    """A convolution that sees the rows above and the row so far.

    Args:
        in_channels: of its input.
        out_channels: of its output.
        kernel: the side of the kernel, odd.
        own: whether it sees the position itself.
    """

    mask: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int, own: bool) -> None:
        super().__init__()
        like = nn.Conv2d(in_channels, out_channels, kernel)
        self.weight, self.bias = like.weight, like.bias
        mask = torch.zeros(kernel, kernel)
        mask[: kernel // 2] = 1
        mask[kernel // 2, : kernel // 2 + own] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return an output of the same height and width."""
        return conv2d(x, self.weight * self.mask, self.bias, padding=self.mask.shape[0] // 2)
