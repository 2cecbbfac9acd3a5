"""A distribution over weights of a VAE, as sites of its programs."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import (
    AutoDelta,
    AutoGuide,
    AutoGuideList,
    AutoLaplaceApproximation,
    AutoNormal,
    AutoNormalizingFlow,
    init_to_value,
)
from torch import Tensor, nn
from torch.distributions import biject_to

from pvae import annotations
from pvae.checks import check_size, is_real
from pvae.messages import kind_of, shown
from pvae.weights.priors import Normal, WeightPrior

OWN = {"init_loc_fn", "init_scale", "create_plates"}  # arguments of guides that are set here
MOST_LAPLACE = 3000  # weights, whose Hessian has the square of that


class Weights(nn.Module):
    r"""Uncertain weights: a prior p(w) over parameters of a VAE, and a posterior q(w).

    The weights are sites of model and guide outside of the plate of the data, each of the name of
    its parameter, such as ``likelihood.network.0.weight``. With N data, the ELBO is

    .. math::
        \log p(x_1, \ldots, x_N) \ge E_{q(w)} \Big[\sum_n ELBO_n(w)\Big]
        - \lambda\, KL(q(w) \,\|\, p(w)),

    with :math:`\lambda = 1` (Blundell et al. 2015; Kingma and Welling 2014, appendix F). In a
    minibatch of B data the sites of the weights have the scale :math:`\lambda B / N`, so that the
    KL counts once in a pass over the data. `pvae.fit` sets N.

    A posterior of any of Pyro's autoguides begins at the initial weights of the networks, with a
    small scale. `AutoDelta` is the maximum a posteriori; `AutoLaplaceApproximation` trains it, and
    at the end of `pvae.fit` the inverse Hessian becomes its covariance (MacKay 1992). With
    ``draws``, a sampler such as `pvae.weights.SGHMC` leaves draws of the weights there.

    Outside of training, the parameters of the VAE are the medians of q(w), at which everything is
    computed that does not say otherwise. `pvae.evaluation.log_likelihood`, `ais`, `anomaly_score`,
    `classify`, `VAE.sample`, `VAE.reconstruct` and `VAE.classify` average over draws.

    Args:
        vae: the VAE.
        parts: the parts whose parameters are uncertain: names of parts, modules in them or
            parameters, such as ``"likelihood"`` or ``"likelihood.network.0"``.
        prior: called without arguments: one of `Normal`, `Laplace` and `Horseshoe`.
        posterior: called with a model: one of Pyro's autoguides.
        init_scale: the standard deviation at which a normal posterior begins.
        kl_weight: lambda; below 1 for a posterior that is nearer to the maximum likelihood.
        draws: how many draws of a sampler are kept; 0 for none. They need `AutoDelta`.

    Attributes:
        names: the names of the uncertain parameters.
        size: the number of data N; ``None`` takes every minibatch for all of them.

    Raises:
        TypeError: if the posterior is not an autoguide, or the prior no prior over weights.
        ValueError: if a part is unknown or has no parameters, the posterior has no medians, or a
            number is out of range.

    Example:
        >>> from functools import partial
        >>> import pvae
        >>> from pvae.weights import Normal, Weights
        >>> weights = partial(Weights, prior=partial(Normal, scale=2.0))
        >>> vae = pvae.build((1, 8, 8), latent_dim=2, weights=weights)
        >>> len(vae.weights.names) == len(list(vae.likelihood.parameters()))
        True
    """

    like: Tensor
    chain: Tensor
    count: Tensor
    factor: Tensor

    def __init__(
        self,
        vae: nn.Module,
        parts: Sequence[str] = ("likelihood",),
        prior: Callable[[], annotations.WeightPrior] = Normal,
        posterior: Callable[[Callable], annotations.WeightPosterior] = AutoNormal,
        init_scale: float = 0.01,
        kl_weight: float = 1.0,
        draws: int = 0,
    ) -> None:
        super().__init__()
        self.shapes = _shapes(vae, [parts] if isinstance(parts, str) else parts)
        made = prior() if callable(prior) else prior
        if not isinstance(made, WeightPrior):
            raise TypeError(
                f"The prior of the weights is {kind_of(prior)}: give a class of pvae.weights, such "
                "as Normal, or a functools.partial of one."
            )
        for name, value in {"kl_weight": kl_weight, "init_scale": init_scale}.items():
            if not is_real(value) or not 0 < value < math.inf:
                raise ValueError(f"{name} is {shown(value)}: it must be a positive number.")
        if draws != 0:
            check_size("draws", draws)
        self.prior = made
        self.size: int | None = None
        self.kl_weight, self.fixed = kl_weight, False
        self.posterior, self.init_scale = posterior, init_scale
        first = vae.get_parameter(self.names[0])
        self.register_buffer("like", first.new_zeros(()), persistent=False)
        self.guide = self._fresh_guide(vae)
        if draws and not isinstance(self.guide, AutoDelta):
            raise ValueError(
                f"draws is {draws} with the posterior {type(self.guide).__name__}: a sampler moves "
                "a point, and leaves draws with posterior=AutoDelta only."
            )
        if isinstance(self.guide, AutoLaplaceApproximation):
            if self.dim > MOST_LAPLACE:
                raise ValueError(
                    f"The Laplace approximation of {self.dim:,} weights needs a matrix of its "
                    f"square: name parts of at most {MOST_LAPLACE:,} weights, such as a last layer."
                )
            dim = self.guide.latent_dim
            self.register_buffer("factor", first.new_zeros(dim, dim))
        if draws:
            self.register_buffer("chain", first.new_zeros(draws, self.dim))
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        for name in self.names:
            vae.get_parameter(name).requires_grad_(False)

    @property
    def names(self) -> list[str]:
        """The names of the uncertain parameters."""
        return [*self.shapes]

    @property
    def dim(self) -> int:
        """The number of uncertain weights."""
        return sum(shape.numel() for shape in self.shapes.values())

    # The two programs --------------------------------------------------------------------------

    def share(self, n: int) -> float:
        """The weight of log p(w) and log q(w) in the objective of n data."""
        return self.kl_weight * (1.0 if self.size is None else n / self.size)

    def model(self, n: int | None = None) -> dict[str, Tensor]:
        """Sample the weights from their prior, by name, for n data."""
        # Not by calls, whose hooks, such as those that count operations, fail on parameters.
        with poutine.scale(scale=1.0 if n is None else self.share(n)):
            return {n: self.prior.forward(n, self.like.expand(s)) for n, s in self.shapes.items()}

    def sites(self, n: int | None = None) -> dict[str, Tensor]:
        """Sample the sites of the weights from their posterior, for n data."""
        store = pyro.get_param_store()
        held = dict(store.named_parameters())
        # The store keeps the first tensor under a name, which may be of another VAE.
        for name, parameter in self.guide.named_parameters():
            full = f"{self.guide._pyro_name}.{name}".removesuffix("_unconstrained")
            if held.get(full, parameter) is not parameter:
                del store[full]
        with poutine.scale(scale=1.0 if n is None else self.share(n)), self.guide._pyro_context:
            return self.guide.forward()

    def at(self, sites: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights for values of their sites."""
        with poutine.block():
            return poutine.condition(self.model, data=dict(sites))()

    # Values ------------------------------------------------------------------------------------

    def begin(self, vae: nn.Module) -> None:
        """Let the posterior begin at the weights of a VAE."""
        self.guide.load_state_dict(self._fresh_guide(vae).state_dict())

    def observe(self, size: int) -> None:
        """Set the number of data, also for a sampler of the weights."""
        self.size = size
        for parameter in self.guide.parameters():
            parameter.data_size = size  # type: ignore[attr-defined]

    def center(self, vae: nn.Module) -> None:
        """Set the parameters of a VAE to the medians of the posterior."""
        with torch.no_grad():
            put(vae, self.at(_median(self.guide)))

    def follow(self, optimizer: object) -> None:
        """Keep the weights if an optimizer that samples has just left a draw."""
        if self.samples and getattr(optimizer, "is_draw", False):
            with torch.no_grad():
                self.collect(self.at(_median(self.guide)))

    @property
    def samples(self) -> bool:
        """Whether the draws are those of a sampler."""
        return "chain" in self._buffers

    @property
    def has_hessian(self) -> bool:
        """Whether the posterior is a Laplace approximation, which is made after training."""
        return "factor" in self._buffers

    def draw(self) -> dict[str, Tensor]:
        """Draw weights from the posterior."""
        with torch.no_grad(), poutine.block():
            if not isinstance(self.guide, AutoLaplaceApproximation):
                return self.at(self.sites())
            latent = self.guide.loc + self.factor @ torch.randn_like(self.guide.loc)
            return self.at(unpacked(self.guide, latent))

    def draws(self, n: int) -> Iterator[dict[str, Tensor]]:
        """Draw weights n times, or choose as many draws of a sampler, or all if it has fewer.

        The choice is random and even over the chain: each of its draws is as likely as another.
        """
        if not self.samples:
            yield from (self.draw() for _ in range(n))
            return
        kept = min(int(self.count), len(self.chain))
        if not kept:  # it has not come so far
            yield self.at(_median(self.guide))
            return
        n = min(n, kept)
        for index in ((torch.arange(n) * kept + torch.randint(kept, ())) // n).tolist():
            parts = self.chain[index].split([s.numel() for s in self.shapes.values()])
            yield {n: p.view(s) for p, (n, s) in zip(parts, self.shapes.items(), strict=True)}

    def collect(self, weights: Mapping[str, Tensor]) -> None:
        """Keep a draw of a sampler, in place of the earliest if there are as many as are kept."""
        flat = torch.cat([weights[name].detach().flatten() for name in self.names])
        self.chain[int(self.count) % len(self.chain)] = flat
        self.count += 1

    def _fresh_guide(self, vae: nn.Module) -> AutoGuide:
        """A guide that begins at the weights of a VAE."""
        cls: Any = self.posterior.func if isinstance(self.posterior, partial) else self.posterior
        usable = isinstance(cls, type) and issubclass(cls, AutoGuide)
        if not usable or issubclass(cls, AutoGuideList):
            raise TypeError(
                f"The posterior of the weights is {kind_of(self.posterior)}: give a class of "
                "pyro.infer.autoguide, such as AutoNormal, or a functools.partial of one."
            )
        if issubclass(cls, AutoNormalizingFlow):
            raise ValueError(
                f"The posterior {cls.__name__} has no medians, which a VAE holds outside of "
                "training: give another of pyro.infer.autoguide, such as AutoNormal."
            )
        given = own_less(self.posterior)
        options = dict(given.keywords) if isinstance(given, partial) else {}
        if "init_scale" in inspect.signature(cls).parameters:
            options["init_scale"] = float(self.init_scale)
        values: dict[str, Tensor] = {}
        for name in self.names:
            values |= self.prior.initial(name, vae.get_parameter(name).detach().clone())
        # In a store of its own: the global one may hold parameters of another VAE's guide.
        with poutine.block(), torch.no_grad(), pyro.get_param_store().scope():
            guide = cls(self.model, init_loc_fn=init_to_value(values=values), **options)
            guide()
            _median(guide)
        return guide.to(self.like)


def _median(guide: Any) -> dict[str, Tensor]:
    """The medians of the sites of a guide."""
    if isinstance(guide, AutoLaplaceApproximation):
        return unpacked(guide, guide.loc)
    return guide.median()


def unpacked(guide: Any, latent: Tensor) -> dict[str, Tensor]:
    """The sites of a guide for a vector of its unconstrained latents."""
    return {s["name"]: biject_to(s["fn"].support)(u) for s, u in guide._unpack_latent(latent)}


def own_less(posterior: Any) -> Any:
    """A factory of a guide without the arguments that are set here."""
    if not isinstance(posterior, partial):
        return posterior
    kept = {k: v for k, v in posterior.keywords.items() if k not in OWN}
    return partial(posterior.func, *posterior.args, **kept)


def put(vae: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into the parameters of a VAE."""
    with torch.no_grad():
        for name, value in weights.items():
            vae.get_parameter(name).copy_(value)


@contextmanager
def substituted(vae: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Use weights in place of the parameters of a VAE while entered."""
    places = []
    for name, value in weights.items():
        path, _, own = name.rpartition(".")
        held = vae.get_submodule(path)._parameters
        if value.shape != held[own].shape:  # type: ignore[union-attr]  # it is there
            raise ValueError(
                "The objective draws all weights once for each particle: train with pvae.fit, or "
                "pvae.weights.WithWeights(objective, vae.weights), which draws them once."
            )
        places.append((held, own, held[own]))
        held[own] = value  # type: ignore[assignment]  # a tensor with a history
    try:
        yield
    finally:
        for held, own, parameter in places:
            held[own] = parameter


@contextmanager
def sampled(vae: Any, program: str, n: int) -> Iterator[None]:
    """Sample the uncertain weights of a VAE, if it has any, and use them while entered.

    Args:
        vae: the VAE.
        program: the program that it is in, ``"model"`` or ``"guide"``.
        n: the number of data in the plate.
    """
    weights: Weights | None = vae.weights
    if weights is None or weights.fixed:
        yield
        return
    if program == "model":
        values = weights.model(n)
    else:
        sites = weights.sites(n)
        # Only the posterior of a VAE and its classifier are in its guide.
        used = any(name.startswith(("posterior.", "classifier.")) for name in weights.names)
        values = weights.at(sites) if used else {}
    with substituted(vae, values):
        yield


def _shapes(vae: nn.Module, parts: Sequence[str]) -> dict[str, torch.Size]:
    """The shapes of the parameters of some parts, by their names."""
    found: dict[str, torch.Size] = {}
    known = {name for name, _ in vae.named_modules()}
    for part in parts:
        chosen = {
            name: p.shape
            for name, p in vae.named_parameters()
            if name == part or name.startswith(f"{part}.")
        }
        if not chosen:
            said = "has no parameters" if part in known and part else "is unknown"
            raise ValueError(
                f"The part {shown(part)} {said}: name parts of the VAE whose weights are uncertain,"
                " such as 'likelihood', or modules and parameters in them."
            )
        found |= chosen
    if not found:
        raise ValueError("parts is empty: name parts whose weights are uncertain.")
    return found
