"""The variational mixture of posteriors."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import check_shape, check_size
from pvae.consistency import check_same_event
from pvae.distributions.mixture import Mixture
from pvae.interfaces import option

# Margin to the ends of the data's range for initial pseudo-inputs, as a fraction of it: at the
# ends the sigmoid has no gradient.
MARGIN = 0.01


class VampPrior(nn.Module):
    r"""The variational mixture of posteriors of Tomczak and Welling (2018).

    .. math::
        p(z) = \sum_k w_k \, q(z | u_k)

    The components are the posteriors at K pseudo-inputs u_k, which are learned with the networks.
    It approximates the aggregate posterior, the mixture over all data, which is the prior that
    maximizes the ELBO. The weights w_k are 1/K unless learned.

    A pseudo-input is a sigmoid of free parameters, scaled to the range that each channel (the
    first dimension of x) has in the data.

    `pvae.VAE` calls `connect` to set the posterior, and `pvae.fit` calls `initialize` to set the
    pseudo-inputs to data; before, they are random in [0, 1]. The posterior's weights are shared,
    not owned: they are not parameters of the prior.

    Args:
        latent_dim: the number of latents d.
        components: the number of pseudo-inputs K.
        learned_weights: whether the weights are learned.

    Raises:
        ValueError: if a size is below 1, the posterior has no context_shape or has another
            number of latents, or the initial data have another event shape or are fewer than the
            pseudo-inputs.
        RuntimeError: if it is called before it is connected.

    Example:
        >>> import torch
        >>> from pvae.posteriors import DiagonalNormal
        >>> from pvae.priors import VampPrior
        >>> prior = VampPrior(2, components=10)
        >>> prior.connect(DiagonalNormal((1, 8, 8), 2))
        >>> prior.initialize(torch.rand(50, 1, 8, 8))
        >>> prior().event_shape
        torch.Size([2])
    """

    logits: Tensor
    low: Tensor
    width: Tensor
    raw_inputs: nn.Parameter | None

    def __init__(
        self, latent_dim: int, components: int = 500, learned_weights: bool = False
    ) -> None:
        super().__init__()
        self.latent_dim = check_size("latent_dim", latent_dim)
        self.components = check_size("components", components)
        weights = torch.zeros(components)
        if learned_weights:
            self.logits = nn.Parameter(weights)
        else:
            self.register_buffer("logits", weights, persistent=False)
        self.register_parameter("raw_inputs", None)
        # A tuple hides the posterior from torch, and so from parameters and state_dict;
        # a deep copy of a VAE still refers to the posterior of the copy.
        self._posterior: tuple[nn.Module, ...] = ()

    def connect(self, posterior: nn.Module) -> None:
        r"""Set the posterior whose mixture this is.

        Existing pseudo-inputs of the right shape are kept.

        Args:
            posterior: called with pseudo-inputs of shape (components, \*posterior.context_shape).
        """
        context_shape = option(posterior, "context_shape")
        if option(posterior, "codes") is not None:
            raise ValueError(
                f"The posterior {type(posterior).__name__} is a point mass at codes, of which a "
                "VampPrior makes no prior over the same z: use UniformCodes or PixelCNN."
            )
        if context_shape is None:
            raise ValueError(
                f"The posterior {type(posterior).__name__} has no context_shape: a VampPrior "
                "needs the event shape of x there, for its pseudo-inputs."
            )
        own = (self.latent_dim,)
        check_same_event(option(posterior, "event_shape") or own, own)
        self._posterior = (posterior,)
        shape = (self.components, *check_shape("context_shape", context_shape))
        if self.raw_inputs is None or self.raw_inputs.shape != shape:
            like = next(posterior.parameters(), self.logits)
            zeros: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
            ends = (shape[1], *[1] * (len(shape) - 2))
            self.register_buffer("low", torch.zeros(ends, **zeros))
            self.register_buffer("width", torch.ones(ends, **zeros))
            self.raw_inputs = nn.Parameter(torch.rand(shape, **zeros).logit(eps=MARGIN))

    def initialize(self, x: Tensor) -> None:
        r"""Initialize the pseudo-inputs to data, drawn without replacement.

        Args:
            x: shape (n, \*event_shape), with n at least the number of components.
        """
        _, raw_inputs = self._connected()
        if x.shape[1:] != raw_inputs.shape[1:]:
            raise ValueError(
                f"The data have event shape {tuple(x.shape[1:])}, and the posterior is given "
                f"{tuple(raw_inputs.shape[1:])}: a VampPrior needs a posterior of x alone."
            )
        if len(x) < self.components:
            raise ValueError(
                f"There are {self.components} pseudo-inputs and {len(x)} data to initialize them: "
                f"take at most {len(x)} components."
            )
        x = x.to(raw_inputs)
        channels = x.transpose(0, 1).flatten(1)
        low, high = channels.amin(1).view_as(self.low), channels.amax(1).view_as(self.low)
        self.low.copy_(low)
        self.width.copy_(high - low)
        chosen = x[torch.randperm(len(x), device=x.device)[: self.components]]
        # A constant channel has no width: its inputs have its value, however initialized.
        part = (chosen - low) / torch.where(high > low, high - low, torch.ones_like(low))
        with torch.no_grad():
            raw_inputs.copy_(part.logit(eps=MARGIN))

    @property
    def pseudo_inputs(self) -> Tensor:
        r"""The pseudo-inputs u, shape (components, \*event_shape)."""
        _, raw_inputs = self._connected()
        return self.low + self.width * raw_inputs.sigmoid()

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        posterior, _ = self._connected()
        weights = dist.Categorical(logits=self.logits)
        return Mixture(weights, posterior(self.pseudo_inputs))

    def _connected(self) -> tuple[nn.Module, nn.Parameter]:
        """The posterior, and what makes the pseudo-inputs."""
        if not self._posterior or self.raw_inputs is None:
            raise RuntimeError("A VampPrior is made of a posterior: connect(posterior) it first.")
        return self._posterior[0], self.raw_inputs
