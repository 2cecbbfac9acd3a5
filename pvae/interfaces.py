"""The contract of a part: the protocols of a prior, likelihood, posterior, network and objective.

A part of your own needs no base class. It must implement the protocol of its kind, and may have
any of the attributes in the class of options that follows it, which gives their defaults. pvae
reads options only by `option`, so this page is the whole contract. Nothing here imports torch.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from pyro.distributions import TorchDistribution
    from torch import Tensor, nn

Domain = Literal[
    "binary",
    "unit interval",
    "open unit interval",
    "bytes",
    "counts",
    "positive reals",
    "reals",
]
"""The domain of values: {0, 1}, [0, 1], (0, 1), levels 0 to high, whole numbers from 0, reals
above 0, or any reals. `detect` returns [0, 1] for data in (0, 1)."""


# Priors -------------------------------------------------------------------------------------------


class Prior(Protocol):
    """p(z): a `torch.nn.Module` called without arguments.

    A prior that sees labels is called like a posterior, with the label vector of shape
    ``(*batch, size)``, and returns p(z|y).
    """

    def __call__(self) -> "TorchDistribution":
        """Return p(z), with empty batch shape and the event shape of z, such as (latent_dim,)."""
        ...


class PriorOptions:
    """Optional attributes of a prior.

    Attributes:
        connect: ``connect(posterior)`` gives it the posterior that it is used with; called once,
            when the VAE is made.
        initialize: ``initialize(x)`` initializes it from data, as the posterior sees them, shape
            ``(n, *event_shape)``; called by `pvae.fit` if any of its parameters are trained.
        path: the top-down path of a hierarchy, which a `pvae.posteriors.TopDown` goes down too.
        transition: ``transition()`` of states in time returns the map from a state to mean and raw
            variance of the next, as `pvae.priors.StateSpace` does, which a
            `pvae.posteriors.Smoothing` follows after the end of a sequence.
    """

    connect: "Callable[[nn.Module], None] | None" = None
    initialize: "Callable[[Tensor], None] | None" = None
    path: "nn.Module | None" = None
    transition: "Callable[[], Callable[[Tensor], Tensor]] | None" = None


# Likelihoods --------------------------------------------------------------------------------------


class Likelihood(Protocol):
    """p(x|z): a `torch.nn.Module` from z to a distribution over x."""

    def __call__(self, z: "Tensor") -> "TorchDistribution":
        r"""Return p(x|z), with the event shape of x.

        Args:
            z: shape ``(*batch, *latent_shape)``, any number of batch dimensions. If the
                likelihood sees labels, the label vector is appended to its first event dimension.
        """
        ...


class LikelihoodOptions:
    """Optional attributes of a likelihood.

    Attributes:
        domain: the domain of x, one of `pvae.data.Domain`. `pvae.fit` and `Dataset.batch` need it
            to convert data.
        levels: the number of levels of a value if the domain is ``"bytes"``; data must have as
            many. ``None`` for any number up to the 256 of a byte.
        relaxed: whether it is a reconstruction loss rather than a density of its data, so that
            there is no evidence to estimate.
        takes_total: whether it is called as ``likelihood(z, total=...)`` when x is known, with
            the sum of x, shape ``(*batch,)``.
        padded: whether x may be sequences that NaN pads to one length, see
            `pvae.likelihoods.Padded`.
        initialize: ``initialize(mean)`` initializes its mean to that of the data, shape
            event_shape; called by `pvae.fit` if any of its parameters are trained.
    """

    domain: Domain | None = None
    levels: int | None = None
    relaxed: bool = False
    takes_total: bool = False
    padded: bool = False
    initialize: "Callable[[Tensor], None] | None" = None


# Posteriors ---------------------------------------------------------------------------------------


class Posterior(Protocol):
    """q(z|x): a `torch.nn.Module` from x to a distribution over z."""

    def __call__(self, x: "Tensor") -> "TorchDistribution":
        r"""Return q(z|x), with the event shape of the prior.

        Args:
            x: data as `VAE.features` returns them, shape ``(*batch, *event_shape)``. If the
                posterior sees labels, the label vector is appended to the first event dimension.
        """
        ...


class PosteriorOptions:
    """Optional attributes of a posterior.

    Attributes:
        context_shape: the event shape of its input, which a `VampPrior` needs.
        event_shape: the event shape of z, which a `VampPrior` compares with its own.
        network: its encoder, a module called with x that returns parameters for each datum;
            `pvae.evaluation.refine` optimizes these parameters.
        connect: ``connect(prior, likelihood)`` gives it the model that it is used with; called
            once, when the VAE is made.
        codes: the space of its z, a `pvae.distributions.Codes`, if z are codes; a prior over codes
            needs it.
        initialize: ``initialize(x)`` initializes it from data as it sees them, shape
            ``(n, *event_shape)``; called by `pvae.fit` if any of its parameters are trained.
    """

    context_shape: tuple[int, ...] | None = None
    event_shape: tuple[int, ...] | None = None
    network: "nn.Module | None" = None
    connect: "Callable[[nn.Module, nn.Module], None] | None" = None
    codes: Any = None
    initialize: "Callable[[Tensor], None] | None" = None


# Classifiers --------------------------------------------------------------------------------------


class Classifier(Protocol):
    """q(y|x): a `torch.nn.Module` from x to a distribution over classes."""

    def __call__(self, x: "Tensor") -> "TorchDistribution":
        r"""Return q(y|x), a Categorical distribution over as many classes as labels have.

        Args:
            x: data as `VAE.features` returns them, shape ``(*batch, *event_shape)``.
        """
        ...


# Networks -----------------------------------------------------------------------------------------


class Network(Protocol):
    """A `torch.nn.Module` from one event shape to another, which a likelihood or posterior owns.

    `pvae.build` makes networks by a factory, called as ``network(in_shape, out_shape)``.
    """

    def __call__(self, x: "Tensor") -> "Tensor":
        """Return a tensor of shape ``(n, *out_shape)`` for x of shape ``(n, *in_shape)``."""
        ...


class NetworkOptions:
    """Optional attributes of a network.

    Attributes:
        output_bias: the bias of its last layer, with one value for each output or for each channel
            (first dimension, or the last of a sequence); a likelihood that is initialized to the
            mean of the data sets it.
        reads_padding: whether it takes sequences that NaN pads to one length, and does not read the
            padding; other networks are given zeros there.
    """

    output_bias: "Tensor | None" = None
    reads_padding: bool = False


# Objectives ---------------------------------------------------------------------------------------


class Objective(Protocol):
    """The loss that training minimizes: an instance of `pyro.infer.ELBO`."""

    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Return an estimate of the loss, in nats summed over the batch."""
        ...

    def loss_and_grads(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Return an estimate of the loss, and accumulate the gradients of the parameters."""
        ...


class ObjectiveOptions:
    """Optional attributes of an objective.

    Attributes:
        differentiable_loss: ``differentiable_loss(model, guide, *args)`` returns the estimate as a
            differentiable tensor; `CompiledSVI` traces it.
        step: the number of gradient steps taken, if it counts them for a schedule of its own;
            `pvae.fit` sets it to 0, or to its saved value when a run is resumed.
        warms_up: whether `pvae.fit` may warm up its KL; ``None`` to decide as for Pyro's ELBOs.
        is_bound: whether it trains log p(x), by a bound that may have weights and penalties;
            `pvae.fit` says at the end if it does not.
        is_comparable: whether losses of different epochs can be compared, which those that change
            with a discriminator cannot; if not, `pvae.fit` keeps the last epoch.
        weighs_data: how data can be given weights, as unknown labels need: ``"scale"`` if the loss
            is a sum over data, linear in the log-probabilities of all sites, whose scales are the
            weights; ``"site"`` if it takes them from the entry ``data_weight`` of a site of the
            guide; ``None`` if they cannot.
        parameters: ``parameters()`` returns its own trained parameters, such as those of a
            discriminator; it then has ``to(device=, dtype=)`` as well.
        state_dict: ``state_dict()`` returns the tensors of it that a run folder saves; it then
            has ``load_state_dict(state)`` as well.
    """

    differentiable_loss: "Callable[..., Tensor] | None" = None
    step: int | None = None
    warms_up: bool | None = None
    is_bound: bool = True
    is_comparable: bool = True
    weighs_data: Literal["scale", "site"] | None = None
    parameters: "Callable[[], Iterable[nn.Parameter]] | None" = None
    state_dict: "Callable[[], Mapping[str, Tensor]] | None" = None


# What reads them ----------------------------------------------------------------------------------

OPTIONS = {
    "prior": PriorOptions,
    "likelihood": LikelihoodOptions,
    "posterior": PosteriorOptions,
    "network": NetworkOptions,
    "objective": ObjectiveOptions,
}
"""The options of each kind of part."""

_DEFAULTS = {name: vars(kind)[name] for kind in OPTIONS.values() for name in kind.__annotations__}


def option(part: object, name: str) -> Any:
    """Return an option of a part, or its default if the part does not have it.

    Args:
        part: a part of any kind, or its class.
        name: one of the options above.

    Raises:
        AttributeError: if no kind of part has this option.

    Example:
        >>> from pvae.interfaces import option
        >>> option(object(), "takes_total")
        False
    """
    if name not in _DEFAULTS:
        raise AttributeError(f"Parts have no option {name!r}: declare it in pvae.interfaces.")
    return getattr(part, name, _DEFAULTS[name])


@runtime_checkable
class Model(Protocol):
    """The interface of a `pvae.VAE` that data sets and `pvae.marginal` use.

    Attributes:
        prior: p(z).
        likelihood: p(x|z).
        labels: the kind of its labels; ``None`` for a VAE without labels.
        classifier: q(y|x) if they may be unknown, else ``None``.
        event_shape: the shape of x.
        latent_shape: the shape of z.
    """

    prior: "nn.Module"
    likelihood: "nn.Module"
    labels: Any
    classifier: Any
    event_shape: "torch.Size"
    latent_shape: "torch.Size"

    @property
    def device(self) -> "torch.device":
        """Where it takes its data."""
        ...

    @property
    def dtype(self) -> "torch.dtype":
        """Their floating-point type."""
        ...

    def q_z(self, x: "Tensor", y: object = None) -> "TorchDistribution":
        """Return q(z|x), or q(z|x, y)."""
        ...

    def decode(
        self, z: "Tensor", y: object = None, like: "Tensor | None" = None
    ) -> "TorchDistribution":
        """Return p(x|z), or p(x|z, y)."""
        ...
