"""Vector quantization."""

from collections.abc import Sequence
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_number, check_size
from pvae.distributions.codes import Codes, QuantizedDelta
from pvae.messages import shown
from pvae.posteriors.quantized import Quantized

Update = Literal["ema", "loss"]


class VQ(Quantized):
    r"""Vector quantization (van den Oord, Vinyals, Kavukcuoglu 2017).

    .. math::
        q(z|x) = \delta(z - e_{k(x)}), \quad k_p(x) = \arg\min_k \|r_p(x) - e_k\|

    at every position p of a grid, with K learned vectors e, the codebook. The network returns r,
    and gradients by z are passed straight through to r. z is discrete: q is a mass of 1 on a single
    outcome, and the ELBO with a prior over codes, `pvae.priors.UniformCodes`, is
    log p(x|z) − P log K, minus the length of a code of x in nats. `pvae.refit_prior` replaces the
    prior by `pvae.priors.PixelCNN`, as the paper does.

    The codebook and the network are kept together by further terms of the loss (eq. 3),

    .. math::
        \sum_p \|\mathrm{sg}[r_p] - e_{k_p}\|^2 + \beta \|r_p - \mathrm{sg}[e_{k_p}]\|^2.

    They are the gradient of log q(z|x), whose value is 0: every objective with a KL minimizes
    them with it, scaled as it is, while losses stay the ELBO. With ``update="ema"`` codes
    are instead moving averages of the r that they are nearest to (appendix A.1), without the first
    term. A training pass takes up the averages of the pass before, so that prior and posterior see
    one codebook.

    Codes that are hardly used would receive no gradient and stay so. With ``revival`` above 0, a
    code is moved to a random r of the minibatch when its share of use, a moving average, falls
    below that fraction of 1 / K (Dhariwal et al. 2020). `pvae.fit` initializes codes to r of data.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents, positions times the length of a code.
        network: maps event_shape to (latent_dim,): a module, or a factory that takes the two
            shapes; ``None`` for an `MLP`.
        codes: the number of codes K.
        grid: the numbers of rows and columns of positions, or the number of positions.
        update: how the codebook is learned, ``"ema"`` or ``"loss"``.
        commitment: beta, at least 0.
        decay: of moving averages, at least 0 and below 1.
        revival: the share of use below which codes are revived; 0 for never.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape
        (latent_dim,).

    Raises:
        ValueError: if an argument is out of its range, the latents do not divide into the
            positions, the network does not fit, or there are fewer data than codes.

    Example:
        >>> import torch
        >>> from pvae.posteriors import VQ
        >>> posterior = VQ((7,), 6, codes=16, grid=(3,))
        >>> q = posterior(torch.randn(5, 7))
        >>> posterior.codes.indices(q.sample()).shape
        torch.Size([5, 3])
    """

    vectors: Tensor
    usage: Tensor
    sums: Tensor
    counts_before: Tensor
    sums_before: Tensor
    chosen_before: Tensor
    step: nn.Parameter | None

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        codes: int = 512,
        grid: Sequence[int] = (1,),
        update: Update = "ema",
        commitment: float = 0.25,
        decay: float = 0.99,
        revival: float = 0.1,
    ) -> None:
        if check_size("codes", codes) < 2:
            raise ValueError("codes is 1: a single code says nothing of x, take at least 2.")
        if update not in get_args(Update):
            raise ValueError(f"update is {shown(update)}: it must be 'ema' or 'loss'.")
        for name, value, end in (
            ("commitment", commitment, float("inf")),
            ("decay", decay, 1.0),
            ("revival", revival, 1.0),
        ):
            if not 0 <= check_number(name, value) < end:
                raise ValueError(f"{name} is {value}: it must be at least 0 and below {end:g}.")
        super().__init__(event_shape, latent_dim, grid, network)
        self.update, self.commitment = update, commitment
        self.decay, self.revival = decay, revival
        vectors = 0.1 * torch.randn(codes, self.dim)
        # With a loss, codes are vectors that revival moves plus what the optimizer adds to them.
        self.register_buffer("vectors", vectors)
        self.register_parameter("step", None)
        if update == "loss":
            self.step = nn.Parameter(torch.zeros_like(vectors))
        self.register_buffer("usage", torch.ones(codes))
        self.register_buffer("sums", vectors.clone())
        # Of the training pass before: uses and sums for each code, and candidates for revival.
        self.register_buffer("counts_before", torch.zeros(codes))
        self.register_buffer("sums_before", torch.zeros_like(vectors))
        self.register_buffer("chosen_before", torch.zeros_like(vectors))

    @property
    def codebook(self) -> Tensor:
        """The codes e, shape (K, dim)."""
        return self.vectors if self.step is None else self.vectors + self.step

    @property
    def codes(self) -> Codes:
        """The space of the codes."""
        return Codes(self.codebook, self.grid)

    def initialize(self, x: Tensor) -> None:
        r"""Initialize the codes to outputs of the network for data, at random.

        Args:
            x: shape (n, \*event_shape).
        """
        number, available = len(self.vectors), len(x) * self.codes.positions
        if number > available:
            raise ValueError(
                f"There are {number} codes and {available} vectors of {len(x)} data to initialize "
                f"them: take at most {available} codes."
            )
        if x.shape[1:] != self.context_shape:  # it sees labels as well, which are not given
            return
        with torch.no_grad():
            (raw,) = self.raw(x.to(self.vectors))
            each = raw.reshape(-1, self.dim)
            vectors = each[torch.randperm(len(each), device=each.device)[:number]]
            self.vectors.copy_(vectors if self.step is None else vectors - self.step)
            self.sums.copy_(vectors)
            self.usage.fill_(1.0)
            for before in (self.counts_before, self.sums_before, self.chosen_before):
                before.zero_()  # what was used of other codes

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        (raw,) = self.raw(x)
        if self.training:
            with torch.no_grad():
                self._take_up()
        codes = self.codes
        indices = codes.indices(raw)
        nearest = embedding(indices, codes.codebook).flatten(-2)
        fixed = raw.detach()
        if self.training:
            with torch.no_grad():
                self._keep(fixed.reshape(-1, self.dim), indices.flatten())
        surrogate = self.commitment * (raw - nearest.detach()).square().sum(-1)
        if self.step is not None:
            surrogate = surrogate + (fixed - nearest).square().sum(-1)
        # The value is exactly that of the codebook, and the gradient that before rounding.
        z = nearest.detach() + (raw - fixed)
        return QuantizedDelta(z, codes, surrogate)

    def _keep(self, each: Tensor, indices: Tensor) -> None:
        """Keep what the next training pass takes up."""
        # A product, since index_add has no fixed order of summation on a GPU.
        numbers = torch.arange(len(self.vectors), device=each.device)
        uses = (indices == numbers.unsqueeze(-1)).to(each.dtype)
        self.counts_before.copy_(uses.sum(-1))
        self.sums_before.copy_(uses @ each)
        if self.revival:
            chosen = torch.randint(len(each), (len(self.vectors),), device=each.device)
            self.chosen_before.copy_(each[chosen])

    def _take_up(self) -> None:
        """Move averages, codes and dead codes by the training pass before, if there was one."""
        new, begun = 1 - self.decay, self.counts_before.sum() > 0
        usage = self.decay * self.usage + new * self.counts_before
        sums = self.decay * self.sums + new * self.sums_before
        moved = self.vectors
        if self.step is None:
            # An unused code stays: its sum and usage shrink alike, down to 0 / 0.
            used = (self.counts_before > 0).unsqueeze(-1)
            moved = torch.where(used, sums / usage.unsqueeze(-1), moved)
        if self.revival:
            dead = usage < self.revival * usage.mean()
            usage = torch.where(dead, usage.mean(), usage)
            there = self.chosen_before - (0 if self.step is None else self.step)
            moved = torch.where(dead.unsqueeze(-1), there, moved)
            sums = torch.where(dead.unsqueeze(-1), self.chosen_before * usage.unsqueeze(-1), sums)
        for buffer, value in ((self.usage, usage), (self.sums, sums), (self.vectors, moved)):
            buffer.copy_(torch.where(begun, value, buffer))
