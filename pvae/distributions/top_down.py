"""Hierarchical normals: each level a normal given the levels above it, by one top-down path."""

import copy
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Size, Tensor
from torch.distributions import Normal, kl_divergence
from torch.distributions.kl import register_kl

from pvae.checks import check_size

Parameters = tuple[Tensor, Tensor]  # loc and log scale, each (n, d_l)


class Path(Protocol):
    """What goes down the levels, such as a `pvae.networks.path.Path`."""

    @property
    def sizes(self) -> Sequence[int]:
        """The number of latents of each level."""
        ...

    def parameters(self) -> Iterable[Tensor]:
        """Its weights."""
        ...

    def descend(
        self, start: Tensor, choose: Callable[[int, Tensor | None, Tensor, Tensor], Tensor]
    ) -> None:
        """Call ``choose(level, state, loc, log_scale)`` at each level, which returns its latents.

        Args:
            start: any values of shape (n, d).
            choose: returns z_l of shape (n, d_l), given loc and log scale of p(z_l | z_<l).
        """
        ...


class _Weights:
    """The weights of a path as they were, to tell whether others would give other normals."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights = [*path.parameters()]
        self.versions = [_version(weight) for weight in self.weights]

    def are_those_of(self, path: Path) -> bool:
        """Whether a path is this one, with the same weights."""
        if path is not self.path:
            return False
        now = [*path.parameters()]
        same = len(now) == len(self.weights) and all(map(operator.is_, now, self.weights))
        return same and [_version(weight) for weight in now] == self.versions


class _Descent(NamedTuple):
    """Latents, and the normals of each given those of the levels above: of own and of the prior."""

    value: Tensor
    version: int
    own: Normal
    prior: Normal
    weights: _Weights
    with_gradients: bool

    def serves(self, value: Tensor, path: Path) -> bool:
        """Whether a descent with this value would find these normals."""
        if value is not self.value or _version(value) != self.version:
            return False
        enough = self.with_gradients or not torch.is_grad_enabled()
        return enough and self.weights.are_those_of(path)


class TopDown(TorchDistribution):
    r"""A distribution over L levels of latents, each a normal given the levels above it.

    .. math::
        p(z) = \prod_{l=1}^L N(z_l; \mu_l(z_{<l}), \mathrm{diag}\, \sigma_l(z_{<l})^2), \qquad
        q(z|x) = \prod_{l=1}^L N(z_l; \hat\mu_l(z_{<l}, x), \mathrm{diag}\, \hat\sigma_l^2)

    with z_1 at the top, and z the concatenation of all levels. A path goes down the levels, and
    gives :math:`\mu_l, \log \sigma_l` at each; a posterior combines them with the message of its
    datum, by a function ``combine``.

    A draw and a density take one pass down the path each. A distribution remembers its latest draw
    with the normals on its path, and so does the draw itself if it has gradients: scoring it, by
    this distribution and by that of the prior on the same path, takes no further pass. The
    divergence of two distributions on one path is the sum over the levels of closed forms, given
    the latest draw of the first (drawn, if there is none): an estimate, whose mean is exact. What
    is remembered is dropped once the draw or the weights of the path change, as by a step of an
    optimizer.

    Args:
        path: a `Path`.
        start: any z, shape (\*batch, d), for the batch shape, d, the device and the dtype.
        combine: called as ``combine(level, state, loc, log_scale, message)`` with the state of the
            path, loc and log scale of the prior, and the message of this level, shape (n, 2, d_l);
            returns loc and log scale. ``None`` for those of the prior.
        message: of each datum, shape (\*batch, 2, d); ``None`` without combine.

    Shape:
        values of (\*batch, d).

    Example:
        >>> import torch
        >>> from pvae.priors import TopDown
        >>> p = TopDown(6, levels=[2, 4])()
        >>> z = p.sample((5,))
        >>> p.by_level(p.log_prob_of_latents(z)).shape
        torch.Size([5, 2])
        >>> held = p.redraw(z, 1)  # the first level stays as it is
        >>> torch.equal(held[:, :2], z[:, :2])
        True
    """

    arg_constraints = {}  # noqa: RUF012  (torch's convention)
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        path: Path,
        start: Tensor,
        combine: Callable[..., Parameters] | None = None,
        message: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.path, self.start = path, start
        self.combine, self.message = combine, message
        self.weights: Tensor | None = None
        self._latest: _Descent | None = None
        super().__init__(start.shape[:-1], start.shape[-1:], validate_args=validate_args)

    # As a distribution --------------------------------------------------------------------------

    def rsample(self, sample_shape: Sequence[int] = Size()) -> Tensor:
        """Draw one level after the other, with gradients."""
        self._latest = self._descend(self._extended_shape(Size(sample_shape))[:-1], _draw)
        return self._latest.value

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, the sum over the levels."""
        if self._validate_args:
            self._validate_sample(value)
        each = self.log_prob_of_latents(value)
        return (each if self.weights is None else each * self._each(self.weights)).sum(-1)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "TopDown":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(TopDown, _instance)
        batch_shape = Size(batch_shape)
        new.path, new.combine, new.weights = self.path, self.combine, self.weights
        new.start = self.start.expand(batch_shape + self.event_shape)
        new.message = self.message
        if self.message is not None:
            new.message = self.message.expand(batch_shape + self.message.shape[-2:])
        new._latest = None
        super(TopDown, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    # Levels -------------------------------------------------------------------------------------

    def log_prob_of_latents(self, value: Tensor) -> Tensor:
        r"""Return the log-density of each latent given the levels above it.

        Args:
            value: shape (\*batch, d).

        Returns:
            A tensor of shape (\*batch, d).
        """
        return self._conditionals(value).log_prob(value)

    def by_level(self, values: Tensor) -> Tensor:
        r"""Sum values of all latents over those of each level, (\*batch, d) to (\*batch, L)."""
        parts = values.split([*self.path.sizes], -1)
        return torch.stack([part.sum(-1) for part in parts], -1)

    def redraw(self, value: Tensor, level: int) -> Tensor:
        r"""Draw the levels from one on anew, with those above it held.

        Args:
            value: shape (\*batch, d).
            level: how many of the first levels are held, from 1 to L - 1.

        Returns:
            A tensor of the broadcast shape of value and the distribution, without gradients.

        Raises:
            ValueError: if there are not more levels than are held.
        """
        if check_size("level", level) >= len(self.path.sizes):
            raise ValueError(
                f"level is {level}: of {len(self.path.sizes)} levels fewer can be held."
            )
        shape, parts = self._parts(value)

        def choose(i: int, loc: Tensor, log_scale: Tensor) -> Tensor:
            return parts[i] if i < level else _draw(i, loc, log_scale)

        with torch.no_grad():
            return self._descend(shape, choose).value

    def weighted(self, weights: Tensor) -> "TopDown":
        """Return the distribution with a weight on the log-density of each level, shape (L,).

        The weights are also those of the divergences of levels in `level_kl`.
        """
        new = copy.copy(self)
        new.weights = weights if self.weights is None else weights * self.weights
        return new

    # The path -----------------------------------------------------------------------------------

    def _each(self, of_levels: Tensor) -> Tensor:
        """A value of each level, for each of its latents."""
        pairs = zip(of_levels.unbind(-1), self.path.sizes, strict=True)
        return torch.cat([value.expand(size) for value, size in pairs])

    def _parts(self, value: Tensor) -> tuple[Size, Sequence[Tensor]]:
        """The batch shape of a value for this distribution, and its levels, each (n, d_l)."""
        shape = torch.broadcast_shapes(value.shape, self.start.shape)
        flat = value.expand(shape).reshape(-1, shape[-1])
        return shape[:-1], flat.split([*self.path.sizes], -1)

    def _conditionals(self, value: Tensor) -> Normal:
        """The normals of all latents given the levels above them in a value."""
        if self._latest is not None and self._latest.serves(value, self.path):
            return self._latest.own
        if self.combine is None and torch.is_grad_enabled() and value.grad_fn is not None:
            # A draw of the posterior on the same path has passed here.
            weights, normals = _graph_memory(value).get(_PASSED, (None, None))
            if weights is not None and weights.are_those_of(self.path):
                return normals
        shape, parts = self._parts(value)
        return self._descend(shape, lambda i, *normal: parts[i]).own

    def _descend(self, shape: Size, choose: Callable[[int, Tensor, Tensor], Tensor]) -> _Descent:
        """Go down the path with latents that are chosen given loc and log scale of each level."""
        d = self.event_shape[0]
        start = self.start.expand(*shape, d).reshape(-1, d)
        messages: Sequence[Tensor] = ()
        if self.message is not None:
            message = self.message.expand(*shape, 2, d).reshape(-1, 2, d)
            messages = message.split([*self.path.sizes], -1)
        levels, own, prior = [], [], []

        def at(level: int, state: Tensor | None, loc: Tensor, log_scale: Tensor) -> Tensor:
            prior.append((loc, log_scale))
            if self.combine is None:
                own.append((loc, log_scale))
            else:
                own.append(self.combine(level, state, loc, log_scale, messages[level]))
            levels.append(choose(level, *own[-1]))
            return levels[-1]

        def joined(parts: Sequence[Tensor]) -> Tensor:
            return torch.cat([*parts], -1).reshape(*shape, d)

        def normals(parameters: list[Parameters]) -> Normal:
            loc, log_scale = zip(*parameters, strict=True)
            return Normal(joined(loc), joined(log_scale).exp(), validate_args=False)

        self.path.descend(start, at)
        value, of_prior = joined(levels), normals(prior)
        of_own = of_prior if self.combine is None else normals(own)
        weights = _Weights(self.path)
        if value.grad_fn is not None:
            _graph_memory(value)[_PASSED] = weights, of_prior
        gradients = torch.is_grad_enabled()
        return _Descent(value, _version(value), of_own, of_prior, weights, gradients)


_PASSED = "pvae.distributions.TopDown"  # the key of what the graph of a draw remembers


def _graph_memory(value: Tensor) -> dict[str, Any]:
    """What the graph of a tensor with gradients remembers, as long as there is the graph."""
    node: Any = value.grad_fn  # whose dictionary torch declares a method
    return node.metadata


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place."""
    return -1 if tensor.is_inference() else tensor._version


def _draw(level: int, loc: Tensor, log_scale: Tensor) -> Tensor:
    return loc + log_scale.exp() * torch.randn_like(loc)


def level_kl(q: TopDown, p: TopDown) -> Tensor:
    r"""KL(q || p) of each level, given the levels above it in the latest draw of q.

    .. math::
        KL\bigl(q(z_l | z_{<l}, x) \,\|\, p(z_l | z_{<l})\bigr), \qquad z \sim q(z|x)

    Each is in closed form; their sum is an estimate of the KL of all levels, whose mean is exact,
    with less variance than log q(z|x) - log p(z). Draws of several samples are averaged.

    Args:
        q: the posterior.
        p: the prior on the same path.

    Returns:
        A tensor of shape (\*batch, L).

    Raises:
        NotImplementedError: if they are not on one path.
    """
    if p.path is not q.path or p.combine is not None:
        raise NotImplementedError
    latest = q._latest
    if latest is None or not latest.serves(latest.value, q.path):
        q.rsample()
        latest = q._latest
    assert latest is not None  # by the draw
    found = q.by_level(kl_divergence(latest.own, latest.prior))
    found = found.reshape(-1, *q.batch_shape, found.shape[-1]).mean(0)
    return found if q.weights is None else found * q.weights


@register_kl(TopDown, TopDown)
def _kl_top_down(q: TopDown, p: TopDown) -> Tensor:
    return level_kl(q, p).sum(-1)
