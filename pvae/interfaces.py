"""The contract of a part: what pvae asks of a prior, likelihood, posterior, network or objective.

A part of your own needs no base class. It must do what the protocol of its kind says, and may have
any of the attributes of the class of options beside it, where each stands with its default: an
option of ``None`` is not offered. pvae reads options by `option` alone, so that this page is all
there is to know. Nothing here imports torch.
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
"""What values are: {0, 1}, [0, 1], (0, 1), levels 0 to high, whole numbers from 0, real numbers
above 0, or any real numbers. `detect` finds data of (0, 1) to be of [0, 1], which has them too."""


# Priors -------------------------------------------------------------------------------------------


class Prior(Protocol):
    """p(z): a `torch.nn.Module` called without arguments.

    Where a prior sees labels it is called as a posterior is, with their vector of shape
    ``(*batch, size)``, and returns p(z|y).
    """

    def __call__(self) -> "TorchDistribution":
        """Return p(z), of an empty batch shape and the event shape of z, such as (latent_dim,)."""
        ...


class PriorOptions:
    """What a prior may have beside.

    Attributes:
        connect: ``connect(posterior)`` hands it the posterior that it is used with; called once,
            when the VAE is made.
        initialize: ``initialize(x)`` has it begin at data, given as the posterior sees them, shape
            ``(n, *event_shape)``; called by `pvae.fit` where some of its parameters are trained.
    """

    connect: "Callable[[nn.Module], None] | None" = None
    initialize: "Callable[[Tensor], None] | None" = None


# Likelihoods --------------------------------------------------------------------------------------


class Likelihood(Protocol):
    """p(x|z): a `torch.nn.Module` from z to a distribution over x."""

    def __call__(self, z: "Tensor") -> "TorchDistribution":
        r"""Return p(x|z), whose event dimensions are those of x.

        Args:
            z: shape ``(*batch, *latent_shape)``, any number of batch dimensions. Where the
                likelihood sees labels, their vector is appended to its first event dimension.
        """
        ...


class LikelihoodOptions:
    """What a likelihood may have beside.

    Attributes:
        domain: what values x has, one of `pvae.data.Domain`. `pvae.fit` and `Dataset.batch` need
            it, to bring data there.
        levels: how many levels a value has where the domain is ``"bytes"``; data must have as
            many. ``None`` stands for any number up to the 256 of a byte.
        relaxed: whether it is a reconstruction loss and no density of its data, so that there is no
            evidence to estimate.
        takes_total: whether it is called as ``likelihood(z, total=...)`` where x is known, with
            the sum of x, shape ``(*batch,)``.
        initialize: ``initialize(mean)`` has its mean begin at that of the data, shape event_shape;
            called by `pvae.fit` where some of its parameters are trained.
    """

    domain: Domain | None = None
    levels: int | None = None
    relaxed: bool = False
    takes_total: bool = False
    initialize: "Callable[[Tensor], None] | None" = None


# Posteriors ---------------------------------------------------------------------------------------


class Posterior(Protocol):
    """q(z|x): a `torch.nn.Module` from x to a distribution over z."""

    def __call__(self, x: "Tensor") -> "TorchDistribution":
        r"""Return q(z|x), of the event shape of the prior.

        Args:
            x: as `VAE.features` makes it of data, shape ``(*batch, *event_shape)``. Where the
                posterior sees labels, their vector is appended to the first event dimension.
        """
        ...


class PosteriorOptions:
    """What a posterior may have beside.

    Attributes:
        context_shape: the event shape of what it is given, which a `VampPrior` needs.
        event_shape: the event shape of z, which a `VampPrior` compares with its own.
        network: its encoder, a module called with x that returns numbers for each datum;
            `pvae.evaluation.refine` optimizes these numbers in the place of the encoder's.
    """

    context_shape: tuple[int, ...] | None = None
    event_shape: tuple[int, ...] | None = None
    network: "nn.Module | None" = None


# Networks -----------------------------------------------------------------------------------------


class Network(Protocol):
    """A `torch.nn.Module` from one event shape to another, which a likelihood or posterior owns.

    `pvae.build` makes networks of a factory, called as ``network(in_shape, out_shape)``.
    """

    def __call__(self, x: "Tensor") -> "Tensor":
        """Return raw numbers, shape ``(n, *out_shape)``, for x of shape ``(n, *in_shape)``."""
        ...


class NetworkOptions:
    """What a network may have beside.

    Attributes:
        output_bias: the bias of its last layer, with one number for each output or for each of the
            first dimension's; a likelihood that begins at the mean of the data sets it.
    """

    output_bias: "Tensor | None" = None


# Objectives ---------------------------------------------------------------------------------------


class Objective(Protocol):
    """The loss that training minimizes: an instance of `pyro.infer.ELBO`."""

    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Return an estimate of the loss, in nats summed over the batch."""
        ...

    def loss_and_grads(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Return an estimate of the loss, and add its gradients to those of the parameters."""
        ...


class ObjectiveOptions:
    """What an objective may have beside.

    Attributes:
        differentiable_loss: ``differentiable_loss(model, guide, *args)`` returns the estimate as a
            tensor that can be differentiated; `CompiledSVI` traces it.
        step: the gradient steps taken, where it counts them, as for its own schedule; `pvae.fit`
            sets it to 0, and to what it was where a run is resumed.
        warms_up: whether `pvae.fit` may warm up its KL; ``None`` for what is right for Pyro's.
        parameters: ``parameters()`` returns what is trained beside the VAE, as a discriminator's;
            it then has ``to(device=, dtype=)`` as well.
        state_dict: ``state_dict()`` returns the tensors that a run folder keeps of it; it then
            has ``load_state_dict(state)`` as well.
    """

    differentiable_loss: "Callable[..., Tensor] | None" = None
    step: int | None = None
    warms_up: bool | None = None
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
    """Return an option of a part, or its default where the part does not have it.

    Args:
        part: a part of any kind, or its class.
        name: one of the options above.

    Raises:
        AttributeError: if no kind of part has such an option.

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
    """What data sets, and the distribution of a VAE's data, know of a `pvae.VAE`.

    Attributes:
        prior: p(z).
        likelihood: p(x|z).
        labels: what its labels are; ``None`` for a VAE without.
        event_shape: that of x.
        latent_shape: that of z.
    """

    prior: "nn.Module"
    likelihood: "nn.Module"
    labels: Any
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
