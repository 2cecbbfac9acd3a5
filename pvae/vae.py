"""The variational autoencoder: two Pyro programs, and what one asks of a trained one."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import pyro.distributions as dist
import torch
from pyro.params import param_with_module_name
from torch import Tensor, nn

from pvae.seeds import seeded


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
    ``domain``: "binary", "unit interval", "bytes", "counts" or "reals".

    `model` and `guide` are ordinary Pyro programs with sample sites ``z`` and ``x`` in the plate
    ``data``: `SVI`, `Predictive`, `poutine.condition`, `NUTS` and the rest of Pyro work on them.

    Args:
        prior: p(z).
        likelihood: p(x|z).
        posterior: q(z|x).

    Raises:
        ValueError: if the event shapes of the parts do not fit each other.

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

    def __init__(self, prior: nn.Module, likelihood: nn.Module, posterior: nn.Module) -> None:
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood
        self.posterior = posterior
        self.event_shape = self._connect()

    # The two programs --------------------------------------------------------------------------

    def model(self, x: Tensor) -> Tensor:
        """Generate: z from the prior, x from the likelihood, with x observed."""
        self._register("prior", "likelihood")
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            return pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Infer: z from the amortized posterior."""
        self._register("posterior")
        with pyro.plate("data", len(x)):
            return pyro.sample("z", self.posterior(x))

    # What one asks of it -----------------------------------------------------------------------

    def encode(self, x: Tensor) -> dist.TorchDistribution:
        r"""Return the posterior q(z|x).

        Args:
            x: shape (\*batch, \*event_shape), in the likelihood's domain.

        Raises:
            ValueError: if x has another event shape.
        """
        self._check(x)
        return self.posterior(x)

    def decode(self, z: Tensor) -> dist.TorchDistribution:
        r"""Return the likelihood p(x|z).

        Args:
            z: shape (\*batch, latent_dim).

        Raises:
            ValueError: if z has another event shape.
        """
        latent_shape = self.prior().event_shape
        if z.shape[z.dim() - len(latent_shape) :] != latent_shape:
            raise ValueError(
                f"z has shape {tuple(z.shape)}: expected (*batch, "
                f"{', '.join(map(str, latent_shape))}) for this VAE."
            )
        return self.likelihood(z)

    def reconstruct(self, x: Tensor, draw: bool = False) -> Tensor:
        r"""Return x as the VAE remembers it, E[x|z] at z = E[z|x].

        Args:
            x: shape (\*batch, \*event_shape).
            draw: draw z and x from q(z|x) and p(x|z) in place of their means.

        Returns:
            A tensor of the shape of x.
        """
        with self.evaluating():
            q = self.encode(x)
            return self._show(q.sample() if draw else q.mean, draw)

    def sample(self, n: int, seed: int | None = None, draw: bool = False) -> Tensor:
        r"""Sample from the prior and return E[x|z].

        Args:
            n: how many.
            seed: makes the result repeatable, and leaves torch's random state as it was.
            draw: draw x from p(x|z) in place of its mean.

        Returns:
            A tensor of shape (n, \*event_shape).

        Raises:
            ValueError: if n is below 1.
        """
        if n < 1:
            raise ValueError(f"n is {n}: ask for at least 1 sample.")
        with self.evaluating(), seeded(seed, self.device):
            return self._show(self.prior().sample((n,)), draw)

    def interpolate(
        self, x0: Tensor, x1: Tensor, steps: int = 10, spherical: bool = False
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

        Returns:
            E[x|z] along the path, shape (\*batch, steps, \*event_shape).

        Raises:
            ValueError: if the shapes differ or there are fewer than 2 steps.
        """
        if steps < 2:
            raise ValueError(f"steps is {steps}: a path has at least its 2 ends.")
        if x0.shape != x1.shape:
            raise ValueError(
                f"x0 has shape {tuple(x0.shape)} and x1 {tuple(x1.shape)}: they must be equal."
            )
        with self.evaluating():
            z0, z1 = (self.encode(x).mean.unsqueeze(-2) for x in (x0, x1))
            t = torch.linspace(0, 1, steps, dtype=z0.dtype, device=z0.device).unsqueeze(-1)
            return self._show(_great_circle(z0, z1, t) if spherical else torch.lerp(z0, z1, t))

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

    # Behind the scenes -------------------------------------------------------------------------

    @property
    def _like(self) -> Tensor:
        return next(itertools.chain(self.parameters(), self.buffers()), torch.empty(0))

    def _show(self, z: Tensor, draw: bool = False) -> Tensor:
        p = self.likelihood(z)
        return p.sample() if draw else p.mean

    def _check(self, x: Tensor) -> None:
        if x.shape[max(x.dim() - len(self.event_shape), 0) :] != self.event_shape:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: expected (*batch, "
                f"{', '.join(map(str, self.event_shape))}) for this VAE."
            )

    def _connect(self) -> torch.Size:
        """Pass zeros through the parts, to meet a misfit here and not in training."""
        with self.evaluating():
            latent_shape = self.prior().event_shape
            zeros = {"dtype": self.dtype, "device": self.device}
            event_shape = _event_shape(
                "likelihood(z)", self.likelihood, latent_shape, zeros, "the prior's z"
            )
            inferred = _event_shape("posterior(x)", self.posterior, event_shape, zeros, "x")
        if inferred != latent_shape:
            raise ValueError(
                f"The posterior is over z of event shape {tuple(inferred)}, the prior over z of "
                f"event shape {tuple(latent_shape)}: they must be equal."
            )
        return event_shape

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


def _event_shape(
    call: str, part: nn.Module, in_shape: torch.Size, zeros: dict, given: str
) -> torch.Size:
    try:
        return part(torch.zeros(2, *in_shape, **zeros)).event_shape
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{call} fails on {given} of shape {(2, *in_shape)}: {' '.join(str(error).split())}"
        ) from error


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
