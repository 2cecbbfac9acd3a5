"""Codes: vectors of a codebook at every position of a grid, and distributions over them."""

import math
from collections.abc import Callable, Sequence

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions.kl import register_kl
from torch.nn.functional import embedding


class Codes(constraints.Constraint):
    r"""The latents that hold a vector of the codebook at each position of a grid.

    Latents are flat: the vector of the first position, then that of the second, row by row.

    Args:
        codebook: the vectors, shape (K, dim).
        grid: the numbers of rows and columns of positions, or the number of positions.

    Attributes:
        positions: the number of positions P.

    Example:
        >>> import torch
        >>> from pvae.distributions import Codes
        >>> codes = Codes(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), grid=(3,))
        >>> codes.vectors(torch.tensor([0, 1, 1]))
        tensor([0., 0., 1., 2., 1., 2.])
        >>> codes.indices(torch.tensor([0.1, 0.0, 0.9, 1.8, 1.0, 2.0]))
        tensor([0, 1, 1])
    """

    event_dim = 1

    def __init__(self, codebook: Tensor, grid: Sequence[int] = (1,)) -> None:
        self.codebook = codebook
        self.grid = tuple(grid)
        self.positions = math.prod(grid)

    @property
    def size(self) -> int:
        """The number of vectors K."""
        return self.codebook.shape[0]

    def indices(self, z: Tensor) -> Tensor:
        r"""The codes nearest to z, shape (\*batch, P), for z of shape (\*batch, P * dim)."""
        book = self.codebook.detach()
        centre = book.mean(0)  # far from 0, differences would be lost to rounding
        each = z.detach().unflatten(-1, (self.positions, -1)) - centre
        book = book - centre
        # |z - e|^2 less |z|^2, which is the same for all.
        return (book.square().sum(-1) - 2 * each @ book.mT).argmin(-1)

    def vectors(self, indices: Tensor) -> Tensor:
        r"""The latents of codes, shape (\*batch, P * dim), for indices of shape (\*batch, P)."""
        return embedding(indices, self.codebook).flatten(-2)

    def check(self, value: Tensor) -> Tensor:
        """Return for which elements of the batch the value consists of codes."""
        nearest = self.vectors(self.indices(value))
        rounding = 1e-5 * (1 + nearest.abs())
        return ((value - nearest).abs() <= rounding).all(-1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codes) or self.grid != other.grid:
            return False
        return torch.equal(self.codebook, other.codebook)

    def __hash__(self) -> int:
        return hash((Codes, self.grid, self.codebook.shape))

    def __repr__(self) -> str:
        return f"Codes({self.size} vectors, grid {' × '.join(map(str, self.grid))})"


class QuantizedDelta(dist.Delta):
    r"""A point mass at codes, with log-mass 0.

    The codes may carry gradients to what they were rounded from, and the log-mass those of a
    surrogate, whose value is never seen: terms by which the codes are learned.

    Args:
        value: the codes, shape (\*batch, P * dim).
        codes: the space that they are in.
        surrogate: what an objective also minimizes where it has log q(z|x), shape batch; ``None``
            for nothing.

    Example:
        >>> import torch
        >>> from pvae.distributions import Codes, QuantizedDelta
        >>> codes = Codes(torch.eye(2), grid=(3,))
        >>> q = QuantizedDelta(codes.vectors(torch.tensor([0, 1, 1])), codes)
        >>> q.log_prob(q.sample())
        tensor(0.)
    """

    def __init__(
        self,
        value: Tensor,
        codes: Codes,
        surrogate: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.codes = codes
        density = 0.0 if surrogate is None else surrogate - surrogate.detach()
        super().__init__(value, density, event_dim=1, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Codes:
        """The codes."""
        return self.codes

    def entropy(self) -> Tensor:
        """0, the entropy of a single outcome."""
        return torch.zeros_like(self.log_density)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "QuantizedDelta":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(QuantizedDelta, _instance)
        new.codes = self.codes
        return super().expand(batch_shape, new)


class UniformCodes(TorchDistribution):
    r"""Independent codes, all equally likely.

    .. math::
        \log p(z) = -P \log K

    for P positions and K codes. It is a mass, not a density.

    Args:
        codes: the space of the codes.

    Shape:
        values of (\*batch, P * dim).

    Raises:
        ValueError: if values that are no codes are scored.

    Example:
        >>> import torch
        >>> from pvae.distributions import Codes, UniformCodes
        >>> p = UniformCodes(Codes(torch.randn(8, 2), grid=(3,)))
        >>> p.log_prob(p.sample()) / 3  # - log 8
        tensor(-2.0794)
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, codes: Codes, validate_args: bool | None = None) -> None:
        self.codes = codes
        event_shape = torch.Size((codes.positions * codes.codebook.shape[1],))
        super().__init__(torch.Size(), event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Codes:
        """The codes."""
        return self.codes

    @property
    def mean(self) -> Tensor:
        """The average of the codebook, at every position."""
        average = self.codes.codebook.mean(0).repeat(self.codes.positions)
        return average.expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """That of the codebook, at every position."""
        spread = self.codes.codebook.var(0, correction=0).repeat(self.codes.positions)
        return spread.expand(self.batch_shape + self.event_shape)

    def entropy(self) -> Tensor:
        """P log K."""
        nats = self.codes.positions * math.log(self.codes.size)
        return self.codes.codebook.new_full(self.batch_shape, nats)

    def log_prob(self, value: Tensor) -> Tensor:
        """The same log-mass everywhere."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return -value.new_full(shape, self.codes.positions * math.log(self.codes.size))

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw each position on its own."""
        shape = torch.Size(sample_shape) + self.batch_shape + (self.codes.positions,)
        device = self.codes.codebook.device
        with torch.no_grad():
            return self.codes.vectors(torch.randint(self.codes.size, shape, device=device))

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "UniformCodes":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(UniformCodes, _instance)
        new.codes = self.codes
        shape = torch.Size(batch_shape)
        super(UniformCodes, new).__init__(shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new


class AutoregressiveCodes(TorchDistribution):
    r"""Codes of which each depends on those at the positions before it.

    .. math::
        p(z) = \prod_p p(z_p | z_1, \ldots, z_{p-1})

    A mass takes one call of the function, a draw one call for each position.

    Args:
        codes: the space of the codes.
        logits: maps z of shape (\*batch, P * dim) to the logits of the codes at each position,
            (\*batch, P, K), those of a position from the positions before it.

    Shape:
        values of (\*batch, P * dim).

    Raises:
        ValueError: if values that are no codes are scored.

    Example:
        >>> import torch
        >>> from pvae.distributions import AutoregressiveCodes, Codes
        >>> codes = Codes(torch.tensor([[0.0], [1.0]]), grid=(4,))
        >>> def repeated(z):  # each code is likely that before it
        ...     before = torch.nn.functional.pad(z[..., :-1], (1, 0))
        ...     return 5 * torch.stack([1 - before, before], -1)
        >>> AutoregressiveCodes(codes, repeated).sample((2,)).shape
        torch.Size([2, 4])
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(
        self,
        codes: Codes,
        logits: Callable[[Tensor], Tensor],
        validate_args: bool | None = None,
    ) -> None:
        self.codes = codes
        self.logits = logits
        event_shape = torch.Size((codes.positions * codes.codebook.shape[1],))
        super().__init__(torch.Size(), event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Codes:
        """The codes."""
        return self.codes

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum the log-masses of the positions."""
        if self._validate_args:
            self._validate_sample(value)
        value = value.expand(torch.broadcast_shapes(value.shape, self.shape()))
        chosen = self.codes.indices(value).unsqueeze(-1)
        return self.logits(value).log_softmax(-1).gather(-1, chosen).flatten(-2).sum(-1)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw one position after the other."""
        codes, shape = self.codes, self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            z = codes.codebook.new_zeros(shape).unflatten(-1, (codes.positions, -1))
            for position in range(codes.positions):
                logits = self.logits(z.flatten(-2))[..., position, :]
                z[..., position, :] = codes.codebook[dist.Categorical(logits=logits).sample()]
            return z.flatten(-2)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "AutoregressiveCodes":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(AutoregressiveCodes, _instance)
        new.codes, new.logits = self.codes, self.logits
        shape = torch.Size(batch_shape)
        super(AutoregressiveCodes, new).__init__(shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new


@register_kl(QuantizedDelta, dist.Distribution)
def _kl(q: QuantizedDelta, p: TorchDistribution) -> Tensor:
    return q.log_density - p.log_prob(q.v)
