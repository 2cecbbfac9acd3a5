"""The posterior of a top-down hierarchy."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional
from pvae.distributions.top_down import Parameters, Path
from pvae.distributions.top_down import TopDown as TopDownDistribution
from pvae.interfaces import option
from pvae.messages import shown

COMBINATIONS = ("absolute", "residual", "precision")


class TopDown(Conditional):
    r"""The posterior of a `pvae.priors.TopDown`, which goes down the path of the prior.

    .. math::
        q(z|x) = \prod_{l=1}^L
        N\bigl(z_l; \hat\mu_l(z_{<l}, x), \mathrm{diag}\, \hat\sigma_l(z_{<l}, x)^2\bigr)

    The network goes up: it returns two numbers :math:`a_l, b_l` for each latent of all levels. On
    the way down they meet the state h_l of the path, and mean and scale of
    :math:`p(z_l | z_{<l})`. By default

    .. math::
        (\hat\mu_l, \log \hat\sigma_l) = (a_l, b_l) + W_l h_l

    with W = 0 at first (Child 2021, with deeper layers for W). So q starts as that of a VAE without
    levels, and the path learns to predict z before q follows it. The other two are relative to the
    prior: residuals (Vahdat and Kautz 2020, section 3.2),

    .. math::
        \hat\mu_l = \mu_l + \sigma_l \Delta_l, \qquad
        \log \hat\sigma_l = \log \sigma_l + \Delta'_l, \qquad
        (\Delta_l, \Delta'_l) = (a_l, b_l) + W_l h_l,

    and a weighting by precisions (Sønderby et al. 2016),

    .. math::
        \hat\sigma_l^{-2} = \sigma_l^{-2} + e^{-2 b_l}, \qquad
        \hat\mu_l = \hat\sigma_l^2 (\sigma_l^{-2} \mu_l + e^{-2 b_l} a_l),

    the product of the prior and a normal, so that q is nowhere wider than p. The wider that normal,
    the less a_l moves the product: a level that once holds no nats learns nothing more.

    The weights of the path are the prior's; only they go down, so that a step of training makes one
    pass. `pvae.VAE` calls `connect` to set the prior.

    Its KL is the sum over levels of closed forms at a draw of the levels above
    (see `pvae.distributions.level_kl`).

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d of all levels.
        network: maps event_shape to (2 d,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`. A `ResNet` that is given the levels returns maps from where they
            are in the image.
        combination: ``"absolute"``, ``"residual"`` or ``"precision"``, as above.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, the network does not fit, the combination is unknown, or
            the prior is no `pvae.priors.TopDown` over as many latents.
        RuntimeError: if it is called before it is connected.

    Example:
        >>> import pvae
        >>> from functools import partial
        >>> prior = partial(pvae.priors.TopDown, levels=[2, 4])
        >>> vae = pvae.build((1, 8, 8), 6, prior=prior, posterior=pvae.posteriors.TopDown)
        >>> vae.encode(vae.sample(3, draw=True)).batch_shape
        torch.Size([3])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        combination: str = "absolute",
    ) -> None:
        if combination not in COMBINATIONS:
            raise ValueError(
                f"combination is {shown(combination)}: it must be one of "
                f"{', '.join(map(repr, COMBINATIONS))}."
            )
        super().__init__(event_shape, (latent_dim,), outputs=2, network=network)
        self.combination = combination
        self.heads = nn.ModuleList()
        # A tuple hides the path from torch, and so from parameters and state_dict; a deep copy of
        # a VAE still refers to the path of the copy.
        self._path: tuple[Path, ...] = ()

    def connect(self, prior: nn.Module, likelihood: nn.Module | None = None) -> None:
        """Set the prior whose path this goes down.

        Args:
            prior: a `pvae.priors.TopDown` over as many latents.
            likelihood: not used.
        """
        path = option(prior, "path")
        if path is None:
            raise ValueError(
                f"A TopDown posterior goes down the path of a pvae.priors.TopDown, and the prior "
                f"is {type(prior).__name__}: choose both TopDown, or another pair over the same z."
            )
        if (sum(path.sizes),) != self.event_shape:
            raise ValueError(
                f"The posterior is over {self.event_shape[0]} latents, the levels of the prior "
                f"over {sum(path.sizes)}: they must be equal."
            )
        if self._path and self._path[0] is not path:
            raise ValueError(
                "This TopDown posterior goes down the path of another prior, and cannot be given "
                "a new one: make a new posterior, and train both."
            )
        if not self._path and self.combination != "precision":
            like = next(self.parameters())
            self.heads.extend(path.head(i) for i in range(1, len(path.sizes)))
            self.heads.to(like)
            for weight in self.heads.parameters():
                nn.init.zeros_(weight)
        self._path = (path,)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        if not self._path:
            raise RuntimeError(
                "A TopDown posterior goes down a prior's path: connect(prior) first."
            )
        message = torch.stack(self.raw(x), -2)
        combine = by_precision if self.combination == "precision" else self._by_state
        return TopDownDistribution(self._path[0], message[..., 0, :], combine, message)

    def _by_state(
        self, level: int, state: Tensor | None, loc: Tensor, log_scale: Tensor, message: Tensor
    ) -> Parameters:
        if state is not None:
            message = message + self.heads[level - 1](state).reshape(message.shape)
        mean, log_width = message.unbind(1)
        if self.combination == "absolute":
            return mean, log_width
        return loc + log_scale.exp() * mean, log_scale + log_width


def by_precision(
    level: int, state: Tensor | None, loc: Tensor, log_scale: Tensor, message: Tensor
) -> Parameters:
    """Multiply a normal by another one, given by mean and log scale; return those of the product.

    Arguments are those of ``combine`` in `pvae.distributions.TopDown`.
    """
    mean, log_width = message.unbind(1)
    difference = 2 * (log_scale - log_width)
    combined = loc + difference.sigmoid() * (mean - loc)
    return combined, log_scale + 0.5 * logsigmoid(-difference)
