"""The variational autoencoder: two Pyro programs, and what one asks of a trained one."""

import itertools
import pickle
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyro
import pyro.distributions as dist
import torch
from pyro.params import param_with_module_name
from torch import Tensor, nn
from torch.distributions import constraints

from pvae.inputs import as_data, as_latents, check_observed
from pvae.labels import Labels, join
from pvae.messages import kind_of, shown
from pvae.moments import mean
from pvae.networks.shapes import check_flag, check_size
from pvae.seeds import seeded

if TYPE_CHECKING:
    from pvae.evaluation.imputation import Denoised, Imputed

PARTS = ("prior", "likelihood", "posterior")


class VAE(nn.Module):
    r"""A latent-variable model p(z) p(x|z) with an amortized posterior q(z|x).

    The parts are modules that return Pyro distributions with their event dimensions declared; any
    module that does so will do, of this package or of your own.

    ===========  =================  ==============================
    part         call               returns a distribution over
    ===========  =================  ==============================
    prior        ``prior()``        z, event shape (latent_dim,)
    likelihood   ``likelihood(z)``  x, event shape of the data
    posterior    ``posterior(x)``   z
    ===========  =================  ==============================

    To be trained by `pvae.fit`, a likelihood also says what values it is over, by an attribute
    ``domain``, one of `pvae.data.Domain`.

    *Data.* All methods take a batch of values in that domain, a tensor or an array, as
    ``data.batch(vae, "test")`` makes it of a data set (see `pvae.data.Dataset.batch`). Bytes and
    grey values as they are stored are refused where the likelihood is over others.

    `model` and `guide` are ordinary Pyro programs with sample sites ``z`` and ``x`` in the plate
    ``data``: `SVI`, `Predictive`, `poutine.condition`, `NUTS` and the rest of Pyro work on them.

    *Labels.* A conditional VAE (Sohn, Lee, Yan 2015) is given labels y, and says which parts see
    them: p(z|y), p(x|z, y), q(z|x, y). Such a part has y appended to its context, to z or to the
    channels of x, and a prior that sees y is called with it alone, as ``prior(y)``. Programs and
    methods then take y after x.

    *Features.* A posterior is given what its network can take in: bytes as parts of the highest,
    counts as log(1 + x) (Lopez et al. 2018), all other values as they are. See `features`.

    *Levels.* Called as a function a VAE is the distribution p(x) of its data, scored by its own
    ELBO; so one VAE can be the prior of another, whose z are its data (see `pvae.priors.Nested`).

    Args:
        prior: p(z).
        likelihood: p(x|z).
        posterior: q(z|x).
        labels: what the labels are; ``None`` for a VAE without.
        conditional: the parts that see them, of ``"prior"``, ``"likelihood"``, ``"posterior"``.

    Raises:
        TypeError: if a part is no module, such as a class or a distribution.
        ValueError: if the event shapes or the supports of the parts do not fit each other.

    Example:
        >>> import pyro, torch
        >>> from pvae import VAE, likelihoods, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Bernoulli(2, (1, 8, 8)),
        ...     posteriors.DiagonalNormal((1, 8, 8), 2),
        ... )
        >>> optim, elbo = pyro.optim.Adam({"lr": 1e-3}), pyro.infer.Trace_ELBO()
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, optim, elbo)
        >>> loss = svi.step(torch.ones(5, 1, 8, 8))  # in nats, summed over the batch
    """

    def __init__(
        self,
        prior: nn.Module,
        likelihood: nn.Module,
        posterior: nn.Module,
        labels: Labels | None = None,
        conditional: Collection[str] = ("likelihood", "posterior"),
    ) -> None:
        super().__init__()
        if not set(conditional) <= set(PARTS) or (labels is not None and not conditional):
            raise ValueError(
                f"conditional is {conditional!r}: it must name parts that see the labels, of "
                f"{', '.join(PARTS)}."
            )
        for name, part in zip(PARTS, (prior, likelihood, posterior), strict=True):
            if not isinstance(part, nn.Module):
                raise TypeError(
                    f"{name} is {kind_of(part)}: it must be a torch.nn.Module whose forward "
                    "returns a distribution."
                )
        self.prior = prior
        self.likelihood = likelihood
        self.posterior = posterior
        self.labels = labels
        self.conditional = tuple(p for p in PARTS if labels is not None and p in conditional)
        if hasattr(prior, "connect"):
            prior.connect(posterior)
        self.event_shape, self.latent_shape = self._connect()

    # The two programs --------------------------------------------------------------------------

    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate: z from the prior, x from the likelihood, with x observed."""
        check_observed(self, x)
        self._register("prior", "likelihood")
        c = self._context(y)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self._prior(c))
            return pyro.sample("x", self._likelihood(z, c, x), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Infer: z from the amortized posterior."""
        check_observed(self, x)
        self._register("posterior")
        c = self._context(y)
        with pyro.plate("data", len(x)):
            return pyro.sample("z", self._posterior(x, c))

    # What one asks of it -----------------------------------------------------------------------

    def forward(self) -> dist.TorchDistribution:
        """Return the distribution p(x) of the data, whose log-density is bounded by the ELBO."""
        # A distribution of this package that knows how to ask a VAE.
        from pvae.marginal import Marginal

        return Marginal(self)

    def p_z(self, y: object = None) -> dist.TorchDistribution:
        r"""Return the prior p(z), or p(z|y).

        Args:
            y: labels, shape (\*batch,) or for continuous ones (\*batch, dim), if the VAE has any.

        Raises:
            ValueError: if y is missing or not a label.
        """
        return self._prior(self._checked(y) if "prior" in self.conditional else None)

    def encode(self, x: Tensor, y: object = None) -> dist.TorchDistribution:
        r"""Return the posterior q(z|x), or q(z|x, y).

        Args:
            x: shape (\*batch, \*event_shape), in the likelihood's domain.
            y: its labels, if the posterior sees them.

        Raises:
            TypeError: if x is no tensor or array of numbers.
            ValueError: if x has another event shape or values outside the domain, or y is missing
                or not a label.
        """
        return self._encode(as_data(self, x), y)

    def features(self, x: Tensor) -> Tensor:
        r"""Return x as the posterior is given it, in the order of 1 whatever the domain.

        Args:
            x: shape (\*batch, \*event_shape), in the likelihood's domain.
        """
        domain = getattr(self.likelihood, "domain", None)
        if domain == "bytes":
            return x / (getattr(self.likelihood, "levels", 256) - 1)
        # Noise that an objective adds may lie below zero.
        return x.clamp_min(0).log1p() if domain == "counts" else x

    def decode(
        self, z: Tensor, y: object = None, like: Tensor | None = None
    ) -> dist.TorchDistribution:
        r"""Return the likelihood p(x|z), or p(x|z, y).

        Args:
            z: shape (\*batch, latent_dim).
            y: labels, if the likelihood sees them.
            like: data whose totals are taken, where a likelihood of counts observes them; such
                as the mean of the training data otherwise.

        Raises:
            ValueError: if z has another event shape, or y is missing or not a label.
        """
        z = as_latents(self, z)
        batch = z.shape[: z.dim() - len(self.latent_shape)]
        c = self._checked(y, batch) if "likelihood" in self.conditional else None
        return self._likelihood(z, c, like)

    def reconstruct(self, x: Tensor, y: object = None, draw: bool = False) -> Tensor:
        r"""Return x as the VAE remembers it, E[x|z] at z = E[z|x].

        Args:
            x: shape (\*batch, \*event_shape).
            y: its labels, if the VAE has any.
            draw: draw z and x from q(z|x) and p(x|z) in place of their means.

        Returns:
            A tensor of the shape of x.
        """
        x = as_data(self, x)
        with self.evaluating():
            q = self._encode(x, y)
            p = self.decode(q.sample() if draw else mean(q), y, like=x)
            return p.sample() if draw else mean(p)

    def sample(
        self, n: int, y: object = None, seed: int | None = None, draw: bool = False
    ) -> Tensor:
        r"""Sample from the prior and return E[x|z].

        Args:
            n: how many.
            y: one label for all of them, or one for each, if the VAE has any: a number, or the name
                of a class where these have names.
            seed: makes the result repeatable, and leaves torch's random state as it was.
            draw: draw x from p(x|z) in place of its mean.

        Returns:
            A tensor of shape (n, \*event_shape).

        Raises:
            ValueError: if n is below 1, or y is missing or not a label.
        """
        check_size("n", n)
        if self.labels is not None:
            y = self.labels.each(y, n)
        with self.evaluating(), seeded(seed, self.device):
            prior = self.p_z(y)
            p = self.decode(prior.sample((n,) if prior.batch_shape == () else ()), y)
            return p.sample() if draw else mean(p)

    def interpolate(
        self,
        x0: Tensor,
        x1: Tensor,
        steps: int = 10,
        spherical: bool = False,
        y: tuple[object, object] = (None, None),
    ) -> Tensor:
        r"""Walk from one datum to another in latent space.

        The path runs from E[z|x0] to E[z|x1], in a straight line or, when spherical, along the
        great circle with the length changing evenly, which stays where N(0, I) in many dimensions
        has its mass (White 2016).

        Args:
            x0: shape (\*batch, \*event_shape).
            x1: the same shape.
            steps: points of the path, both ends counted.
            spherical: whether to go along the great circle.
            y: labels of x0 and of x1, between which the path leads as well.

        Returns:
            E[x|z] along the path, shape (\*batch, steps, \*event_shape).

        Raises:
            ValueError: if the shapes differ or there are fewer than 2 steps.
        """
        if check_size("steps", steps) < 2:
            raise ValueError(f"steps is {steps}: a path has at least its 2 ends.")
        check_flag("spherical", spherical)
        if not isinstance(y, tuple | list) or len(y) != 2:
            raise TypeError(f"y is {shown(y)}: it must be a tuple, the labels of x0 and of x1.")
        x0, x1 = as_data(self, x0, "x0"), as_data(self, x1, "x1")
        if x0.shape != x1.shape:
            raise ValueError(
                f"x0 has shape {tuple(x0.shape)} and x1 {tuple(x1.shape)}: they must be equal."
            )
        with self.evaluating():
            ends = zip((x0, x1), y, strict=True)
            z0, z1 = (mean(self._encode(*end)).unsqueeze(-2) for end in ends)
            t = torch.linspace(0, 1, steps, dtype=z0.dtype, device=z0.device).unsqueeze(-1)
            z = _great_circle(z0, z1, t) if spherical else torch.lerp(z0, z1, t)
            c = None
            if "likelihood" in self.conditional:
                c0, c1 = (self._checked(label).unsqueeze(-2) for label in y)
                c = torch.lerp(c0, c1, t)
            return mean(self._likelihood(z, c))

    def impute(self, x: Tensor, mask: Tensor, y: object = None, **options: Any) -> "Imputed":
        r"""Fill in missing elements by their expectation given the others, E[x_missing|x_observed].

        Args:
            x: shape (n, \*event_shape), anything where it is missing.
            mask: which elements are observed, of a shape that broadcasts to that of x.
            y: labels, if the VAE has any.
            **options: of `pvae.evaluation.impute`, whose result is returned.

        Example:
            >>> import pvae, torch
            >>> vae, x = pvae.build((1, 8, 8), latent_dim=2), torch.ones(5, 1, 8, 8)
            >>> vae.impute(x, torch.arange(8) < 4, num_samples=50).x.shape  # from their left halves
            torch.Size([5, 1, 8, 8])
        """
        from pvae.evaluation import impute

        return impute(self, x, mask, y, **options)

    def denoise(self, x: Tensor, y: object = None, **options: Any) -> "Denoised":
        r"""Remove the noise of the likelihood: E[x'|x] for another x' of the same z.

        Args:
            x: shape (n, \*event_shape).
            y: labels, if the VAE has any.
            **options: of `pvae.evaluation.denoise`, whose result is returned.

        Example:
            >>> import pvae, torch
            >>> vae = pvae.build((1, 8, 8), latent_dim=2)
            >>> vae.denoise(torch.ones(5, 1, 8, 8), num_samples=50).x.shape
            torch.Size([5, 1, 8, 8])
        """
        from pvae.evaluation import denoise

        return denoise(self, x, y, **options)

    def refine(self, x: Tensor, y: object = None, **options: Any) -> dist.TorchDistribution:
        r"""Return the best q(z|x) of the posterior's family, optimized from the encoder's start.

        Args:
            x: shape (n, \*event_shape).
            y: labels, if the VAE has any.
            **options: of `pvae.evaluation.refine`.

        Example:
            >>> import pvae, torch
            >>> vae = pvae.build((1, 8, 8), latent_dim=2)
            >>> vae.refine(torch.ones(5, 1, 8, 8), steps=10).mean.shape
            torch.Size([5, 2])
        """
        from pvae.evaluation import refine

        return refine(self, x, y, **options)

    @property
    def device(self) -> torch.device:
        """Where the VAE is, and where it takes its data."""
        return self._like.device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that the VAE is of, and takes its data in."""
        return self._like.dtype

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without gradients, and with dropout and its like switched off."""
        training = {m: m.training for m in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in training.items():
                module.training = mode

    def __copy__(self) -> "VAE":
        """Return a VAE of the same parts, of which one may be replaced without the other's."""
        twin = type(self).__new__(type(self))
        own = {k: self.__dict__[k].copy() for k in ("_modules", "_parameters", "_buffers")}
        twin.__dict__.update(self.__dict__ | own)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        # Pyro leaves a weak reference at each parameter that it has seen, and makes it anew when it
        # sees it again. Neither that nor a factory that has no name can be pickled.
        for parameter in self.parameters():
            parameter.__dict__.pop("unconstrained", None)
        state = self.__dict__.copy()
        if "arguments" in state:
            state["arguments"] = {k: v for k, v in self.arguments.items() if _is_picklable(v)}
        return state

    # Behind the scenes -------------------------------------------------------------------------

    @property
    def _like(self) -> Tensor:
        return next(itertools.chain(self.parameters(), self.buffers()), torch.empty(0))

    def _prior(self, c: Tensor | None) -> dist.TorchDistribution:
        return self.prior(c) if "prior" in self.conditional else self.prior()

    def _likelihood(
        self, z: Tensor, c: Tensor | None, x: Tensor | None = None
    ) -> dist.TorchDistribution:
        if "likelihood" in self.conditional:
            z = join(z, c, len(self.latent_shape))
        if x is not None and getattr(self.likelihood, "takes_total", False):
            return self.likelihood(z, total=x.flatten(x.dim() - len(self.event_shape)).sum(-1))
        return self.likelihood(z)

    def _posterior(self, x: Tensor, c: Tensor | None) -> dist.TorchDistribution:
        x = self.features(x)
        if "posterior" in self.conditional:
            x = join(x, c, len(self.event_shape))
        return self.posterior(x)

    def _encode(self, x: Tensor, y: object = None) -> dist.TorchDistribution:
        """`encode` without a look at x."""
        batch = x.shape[: x.dim() - len(self.event_shape)]
        return self._posterior(
            x, self._checked(y, batch) if "posterior" in self.conditional else None
        )

    def _context(self, y: Tensor | None) -> Tensor | None:
        if self.labels is None:
            return None
        # Only what costs nothing is looked at in a step of training.
        return self.labels(y if isinstance(y, Tensor) else self.labels.check(y))

    def _checked(self, y: object, batch: torch.Size | None = None) -> Tensor:
        c = self.labels(self.labels.check(y))
        if batch is not None and not _broadcasts(c.shape[:-1], batch):
            raise ValueError(
                f"y has labels of shape {tuple(c.shape[:-1])} for a batch of shape "
                f"{tuple(batch)}: give one label, or one for each."
            )
        return c

    def _connect(self) -> tuple[torch.Size, torch.Size]:
        """Pass zeros through the parts, to meet a misfit here and not in training."""
        with self.evaluating():
            zeros = {"dtype": self.dtype, "device": self.device}
            size = 0 if self.labels is None else self.labels.size
            seen = {part: size if part in self.conditional else 0 for part in PARTS}
            if seen["prior"]:
                p = _try("prior(y)", self.prior, torch.Size([size]), zeros, "y")
            else:
                p = self.prior()
            z_shape = _appended(p.event_shape, seen["likelihood"])
            event = _try("likelihood(z)", self.likelihood, z_shape, zeros, "the prior's z")
            x_shape = _appended(event.event_shape, seen["posterior"])
            q = _try("posterior(x)", self.posterior, x_shape, zeros, "x")
        if q.event_shape != p.event_shape:
            raise ValueError(
                f"The posterior is over z of event shape {tuple(q.event_shape)}, the prior over z "
                f"of event shape {tuple(p.event_shape)}: they must be equal."
            )
        with torch.no_grad(), seeded(0, self.device):
            z = q.sample((50,))
            meet = _holds(p, z) and _holds(q, p.sample((50, *q.batch_shape)))
            meet = meet and bool((_score(p, z) > -torch.inf).any())
        if not meet:
            raise ValueError(
                f"The posterior {type(self.posterior).__name__} is over {_support(q)}, the prior "
                f"{type(self.prior).__name__} over {_support(p)}: choose a pair over the same z."
            )
        return event.event_shape, p.event_shape

    def _register(self, *parts: str) -> None:
        # The parameter store keeps the first tensor it sees under a name and would silently train
        # that one. The modules are the truth here, so that two VAEs can live in one process.
        store = pyro.get_param_store()
        held = dict(store.named_parameters())
        for part in parts:
            for name, parameter in getattr(self, part).named_parameters():
                if parameter.requires_grad:
                    full_name = param_with_module_name(part, name)
                    if held.get(full_name, parameter) is not parameter:
                        del store[full_name]
                    pyro.param(full_name, parameter)


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(a in (1, b) for a, b in pairs)


def _is_picklable(value: object) -> bool:
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    return True


def _try(
    call: str, part: nn.Module, in_shape: torch.Size, zeros: dict, given: str
) -> dist.TorchDistribution:
    try:
        p = part(torch.zeros(2, *in_shape, **zeros))
        p.event_shape  # noqa: B018  (what is no distribution has none)
        return p
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{call} fails on {given} of shape {(2, *in_shape)}: {' '.join(str(error).split())}"
        ) from error


def _appended(shape: torch.Size, size: int) -> torch.Size:
    return torch.Size([shape[0] + size, *shape[1:]])


def _holds(p: dist.TorchDistribution, z: Tensor) -> bool:
    """Whether draws of another distribution lie where this one has a density."""
    try:
        return bool(p.support.check(z).all())
    except NotImplementedError:  # it does not say where that is
        return True


def _score(p: dist.TorchDistribution, z: Tensor) -> Tensor:
    try:
        return p.log_prob(z)
    except NotImplementedError as error:
        raise ValueError(
            f"The prior cannot score what the posterior draws: {' '.join(str(error).split())}"
        ) from error


def _support(p: dist.TorchDistribution) -> str:
    support = p.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    name = type(support).__name__.lstrip("_")
    return "real numbers" if name in ("Real", "RealVector") else str(support)


def _great_circle(z0: Tensor, z1: Tensor, t: Tensor) -> Tensor:
    r0, r1 = (z.norm(dim=-1, keepdim=True) for z in (z0, z1))
    tiny = torch.finfo(z0.dtype).tiny
    u0, u1 = z0 / r0.clamp_min(tiny), z1 / r1.clamp_min(tiny)
    angle = torch.acos((u0 * u1).sum(-1, keepdim=True).clamp(-1, 1))
    sin = angle.sin()
    arc = (torch.sin((1 - t) * angle) * u0 + torch.sin(t * angle) * u1) / sin
    # Parallel directions have no great circle of their own: the straight line is the limit.
    direction = torch.where(sin.abs() < 1e-4, torch.lerp(u0, u1, t), arc)
    return torch.lerp(r0, r1, t) * direction
