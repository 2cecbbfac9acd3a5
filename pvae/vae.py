"""The variational autoencoder: two Pyro programs, and the queries of a trained one."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae import unknown_labels
from pvae.checks import check_size
from pvae.consistency import PARTS, check_classifier, check_conditional, check_parts, event_shapes
from pvae.data.domains import BYTE_LEVELS
from pvae.inputs import as_data, as_latents, check_observed
from pvae.interfaces import option
from pvae.interpolation import interpolate
from pvae.labels import Labels, join
from pvae.marginal import Marginal
from pvae.module import Module
from pvae.moments import mean
from pvae.rows import by_rows
from pvae.seeds import seeded
from pvae.weights.draws import classify_over, reconstruct_over, sample_over, uncertain
from pvae.weights.weights import Weights, sampled


class VAE(Module):
    r"""A latent-variable model p(z) p(x|z) with an amortized posterior q(z|x).

    The parts are modules that return Pyro distributions with their event dimensions declared. Any
    such module works, from this package or your own.

    ===========  =================  ==============================
    part         call               returns a distribution over
    ===========  =================  ==============================
    prior        ``prior()``        z, event shape (latent_dim,)
    likelihood   ``likelihood(z)``  x, event shape of the data
    posterior    ``posterior(x)``   z
    ===========  =================  ==============================

    To be trained by `pvae.fit`, a likelihood also declares the domain of its values in an
    attribute ``domain``, one of `pvae.data.Domain`.

    *Data.* All methods take a batch of values in that domain, a tensor or an array, as
    ``data.batch(vae, "test")`` returns (see `pvae.data.Dataset.batch`). Values outside the domain,
    such as stored bytes for a binary likelihood, raise an error.

    `model` and `guide` are ordinary Pyro programs with sample sites ``z`` and ``x`` in the plate
    ``data``: `SVI`, `Predictive`, `poutine.condition`, `NUTS` and the rest of Pyro work on them.

    *Labels.* A conditional VAE (Sohn, Lee, Yan 2015) takes labels y, and declares which parts see
    them: p(z|y), p(x|z, y), q(z|x, y). Such a part has y appended to its context, to z or to the
    channels of x, and a prior that sees y is called with it alone, as ``prior(y)``. Programs and
    methods then take y after x.

    *Unknown labels.* With a classifier q(y|x), classes may be unknown (Kingma et al. 2014), -1 in
    y, or all without y. They are one more site: the model draws y from p(y), the guide from q(y|x),
    or both know it. `TraceEnum_ELBO` and `pvae.objectives.SemiSupervised` sum over it exactly.
    The methods below take y as known, and sum over it if it is not given.

    *Features.* A posterior takes rescaled data, see `features`: bytes as fractions of the highest,
    counts as log(1 + x) (Lopez et al. 2018), all other values unchanged.

    *Hierarchies.* A call of a VAE returns the distribution p(x) of its data, scored by its own
    ELBO; so one VAE can be the prior of another, whose z are its data (see `pvae.priors.Nested`).

    Args:
        prior: p(z).
        likelihood: p(x|z).
        posterior: q(z|x).
        labels: the kind of labels; ``None`` for a VAE without labels.
        conditional: the parts that see labels: ``"prior"``, ``"likelihood"``, ``"posterior"``.
        classifier: q(y|x), see `pvae.interfaces.Classifier`; ``None`` if labels are always known.

    Attributes:
        arguments: the arguments of `build`; empty for a VAE made by hand.
        event_shape: the shape of x.
        latent_shape: the shape of z.
        weights: the distribution over weights, see `pvae.weights.Weights`; ``None`` without one.

    Raises:
        TypeError: if a part is not a module, such as a class or a distribution.
        ValueError: if the event shapes, supports or classes of the parts do not fit each other.

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

    arguments: Mapping[str, Any] = MappingProxyType({})
    labels: Any  # Labels, or None

    def __init__(
        self,
        prior: nn.Module,
        likelihood: nn.Module,
        posterior: nn.Module,
        labels: Labels | None = None,
        conditional: Collection[str] = ("likelihood", "posterior"),
        classifier: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_parts(prior, likelihood, posterior)
        check_conditional(conditional, labels)
        self.prior = prior
        self.likelihood = likelihood
        self.posterior = posterior
        self.classifier = classifier
        self.labels = labels
        self.weights: Weights | None = None
        self.conditional = tuple(p for p in PARTS if labels is not None and p in conditional)
        self._connect()
        sizes = {part: self.labels.size if part in self.conditional else 0 for part in PARTS}
        with self.evaluating():
            self.event_shape, self.latent_shape = event_shapes(
                prior, likelihood, posterior, sizes, self.like
            )
            check_classifier(classifier, labels, self.event_shape, self.like)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in PARTS and "event_shape" in vars(self):  # a part is replaced by hand
            self._connect()

    def _connect(self) -> None:
        """Give parts that are made of other parts, or follow them, those of this VAE."""
        if connect := option(self.posterior, "connect"):
            connect(self.prior, self.likelihood)
        if connect := option(self.prior, "connect"):
            connect(self.posterior)

    # The two programs --------------------------------------------------------------------------

    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The generative program: z from the prior, x from the likelihood, with x observed."""
        check_observed(self, x)
        self._register("prior", "likelihood", "labels")
        with sampled(self, "model", len(x)), pyro.plate("data", len(x)):
            c = self._context(unknown_labels.observe(self, x, y))
            z = pyro.sample("z", self.prior_given(c))
            return pyro.sample("x", self.likelihood_given(z, c, x), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The inference program: z from the amortized posterior."""
        check_observed(self, x)
        self._register("posterior", "classifier")
        with sampled(self, "guide", len(x)), pyro.plate("data", len(x)):
            c = self._context(unknown_labels.sample(self, x, y))
            return pyro.sample("z", self.posterior_given(x, c))

    # The parts, with or without labels ---------------------------------------------------------

    def prior_given(self, c: Tensor | None) -> dist.TorchDistribution:
        r"""Return p(z), or p(z|y) given the label vector that `Labels` returns.

        Args:
            c: shape (\*batch, labels.size); ``None`` without labels, or to sum over all classes.
        """
        if "prior" not in self.conditional:
            return self.prior()
        return unknown_labels.prior(self) if c is None else self.prior(c)

    def likelihood_given(
        self, z: Tensor, c: Tensor | None, like: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return p(x|z), or p(x|z, y); arguments as for `decode` and `prior_given`, unchecked."""
        if "likelihood" in self.conditional:
            if c is None:
                return unknown_labels.likelihood(self, z, like)
            z = join(z, c, len(self.latent_shape))
        if like is not None and option(self.likelihood, "takes_total"):
            total = like.flatten(like.dim() - len(self.event_shape)).sum(-1)
            return self.likelihood(z, total=total)
        return self.likelihood(z)

    def posterior_given(self, x: Tensor, c: Tensor | None) -> dist.TorchDistribution:
        """Return q(z|x), or q(z|x, y); arguments as for `encode` and `prior_given`, unchecked."""
        if "posterior" not in self.conditional:
            return self.posterior(self.features(x))
        if c is None:
            return unknown_labels.posterior(self, x)
        return self.posterior(join(self.features(x), c, len(self.event_shape)))

    # Queries ---------------------------------------------------------------------------------

    def forward(self) -> dist.TorchDistribution:
        """Return the distribution p(x) of the data, whose log-density is bounded by the ELBO."""
        return Marginal(self)

    def p_z(self, y: object = None) -> dist.TorchDistribution:
        r"""Return the prior p(z), or p(z|y).

        Args:
            y: labels, shape (\*batch,) or for continuous ones (\*batch, dim), if the VAE has any.

        Raises:
            ValueError: if y is missing or not a label.
        """
        return self.prior_given(self._labels_of("prior", y))

    def classify(self, x: Tensor) -> dist.TorchDistribution:
        r"""Return the classifier's q(y|x); ``probs`` of it have shape (\*batch, classes).

        If its weights are uncertain, that is the mean over draws of them.
        `pvae.evaluation.classify` estimates p(y|x) by the evidence of each class instead.

        Args:
            x: as for `encode`.

        Raises:
            ValueError: if the VAE has no classifier, or x is invalid.
        """
        if self.classifier is None:
            raise ValueError("This VAE has no classifier q(y|x): build it with classifier=.")
        x = as_data(self, x)
        if uncertain(self, "classifier"):
            return classify_over(self, x)
        return self.classifier(self.features(x))

    def encode(self, x: Tensor, y: object = None) -> dist.TorchDistribution:
        r"""Return the posterior q(z|x), or q(z|x, y).

        Args:
            x: shape (\*batch, \*event_shape), in the likelihood's domain.
            y: its labels, if the posterior sees them.

        Raises:
            TypeError: if x is not a tensor or array of numbers.
            ValueError: if x has another event shape or values outside the domain, or y is missing
                or not a label.
        """
        return self.q_z(as_data(self, x), y)

    def q_z(self, x: Tensor, y: object = None) -> dist.TorchDistribution:
        """Return q(z|x) as `encode` does, for a tensor x that may lie outside the domain."""
        batch = x.shape[: x.dim() - len(self.event_shape)]
        return self.posterior_given(x, self._labels_of("posterior", y, batch))

    def features(self, x: Tensor) -> Tensor:
        r"""Return x as the posterior takes it, of order 1 in any domain.

        Args:
            x: shape (\*batch, \*event_shape), in the likelihood's domain.
        """
        domain = option(self.likelihood, "domain")
        if option(self.likelihood, "padded"):
            network = option(self.posterior, "network")
            x = x if option(network, "reads_padding") else x.nan_to_num()
        if domain == "bytes":
            return x / ((option(self.likelihood, "levels") or BYTE_LEVELS) - 1)
        # An objective may add noise, so that x is below zero.
        return x.clamp_min(0).log1p() if domain == "counts" else x

    def decode(
        self, z: Tensor, y: object = None, like: Tensor | None = None
    ) -> dist.TorchDistribution:
        r"""Return the likelihood p(x|z), or p(x|z, y).

        Args:
            z: shape (\*batch, latent_dim).
            y: labels, if the likelihood sees them.
            like: data whose totals a likelihood of counts takes, by default the mean in training.

        Raises:
            ValueError: if z has another event shape, or y is missing or not a label.
        """
        z = as_latents(self, z)
        batch = z.shape[: z.dim() - len(self.latent_shape)]
        return self.likelihood_given(z, self._labels_of("likelihood", y, batch), like)

    def reconstruct(self, x: Tensor, y: object = None, draw: bool = False) -> Tensor:
        r"""Return the reconstruction of x, E[x|z] at z = E[z|x].

        `pvae.evaluation.predictive` has its variance, by uncertain weights, latents and noise.

        Args:
            x: shape (\*batch, \*event_shape).
            y: its labels, if the VAE has any; by default the most probable ones of a classifier.
            draw: whether to draw z and x from q(z|x) and p(x|z) instead of taking their means.

        Returns:
            A tensor of the shape of x.
        """
        x = as_data(self, x)
        if uncertain(self):
            return reconstruct_over(self, x, y, draw)
        with self.evaluating():
            y = unknown_labels.likeliest(self, x, y)
            q = self.q_z(x, y)
            p = self.decode(q.sample() if draw else mean(q), y, like=x)
            return p.sample() if draw else mean(p)

    def sample(
        self, n: int, y: object = None, seed: int | None = None, draw: bool = False
    ) -> Tensor:
        r"""Sample from the prior and return E[x|z].

        Args:
            n: the number of samples.
            y: one label for all of them, or one for each, if the VAE has any: a number, or the name
                of a class if classes have names. By default a VAE with a classifier draws them.
            seed: of the draws; torch's random state is then restored.
            draw: whether to draw x from p(x|z) instead of taking its mean.

        Returns:
            A tensor of shape (n, \*event_shape).

        Raises:
            ValueError: if n is below 1, or y is missing or not a label.
        """
        check_size("n", n)
        if uncertain(self):
            return sample_over(self, n, y, seed, draw)
        with self.evaluating(), seeded(seed, self.device):
            y = unknown_labels.each(self, y, n)
            prior = self.p_z(y)
            z = prior.sample((n,) if prior.batch_shape == () else ())

            def decode(z: Tensor, c: Tensor | None) -> Tensor:
                p = self.likelihood_given(z, c)
                return p.sample() if draw else mean(p)

            c = self._labels_of("likelihood", y, z.shape[:1])
            return by_rows(decode, self.event_shape.numel(), z, c)

    def interpolate(
        self,
        x0: Tensor,
        x1: Tensor,
        steps: int = 10,
        spherical: bool = False,
        y: tuple[object, object] = (None, None),
    ) -> Tensor:
        r"""Decode points on a path between two data in latent space.

        The path from E[z|x0] to E[z|x1] is straight, or a great circle along which the norm changes
        linearly and which stays where N(0, I) in many dimensions has its mass (White 2016).

        Args:
            x0: shape (\*batch, \*event_shape).
            x1: the same shape.
            steps: the number of points on the path, both ends included.
            spherical: whether to follow the great circle.
            y: labels of x0 and of x1, which are interpolated as well; as for `reconstruct`.

        Returns:
            E[x|z] along the path, shape (\*batch, steps, \*event_shape).

        Raises:
            ValueError: if the shapes differ or there are fewer than 2 steps.
        """
        return interpolate(self, x0, x1, steps, spherical, y)

    # Labels ----------------------------------------------------------------------------------

    def _labels_of(self, part: str, y: object, batch: torch.Size | None = None) -> Tensor | None:
        """The labels of a batch as the vector that a part is given, if it sees them."""
        if part not in self.conditional or (y is None and self.classifier is not None):
            return None
        return self.labels.context(y, batch)

    def _context(self, y: Tensor | None) -> Tensor | None:
        # In a training step only checks that cost nothing are made.
        return self.labels and self.labels(y if isinstance(y, Tensor) else self.labels.check(y))
