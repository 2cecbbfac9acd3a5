"""The relaxed one-hot posterior."""

import pyro.distributions as dist
from torch import Tensor

from pvae import distributions
from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.conditional import Conditional
from pvae.posteriors.temperature import Temperature


class RelaxedOneHot(Conditional):
    r"""A posterior over groups of one-hot latents, relaxed in training.

    .. math::
        q(z|x) = \prod_g \mathrm{Categorical}(z_g; \mathrm{softmax}\ l_g(x)), \quad
        z_g \approx \mathrm{softmax}((l_g(x) + \text{Gumbel noise}) / t)

    In training mode draws are the relaxation at temperature t (Jang et al. 2017; Maddison et al.
    2017), or with ``straight_through`` the vertices nearest to it, with gradients of the
    relaxation. In evaluation mode they are exact and one-hot, so that bounds are those of the
    discrete model. The network returns the logits l.

    The temperature may fall from its first to its final value, exponentially, over
    ``annealing_steps`` training passes.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d, groups times categories.
        network: maps event_shape to (d,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.
        groups: the number of one-hot variables.
        temperature: t, or its initial value.
        final_temperature: its final value; ``None`` for a fixed one.
        annealing_steps: training passes until then; ``None`` for a fixed one.
        straight_through: whether draws in training are one-hot too.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if the latents do not divide into groups of at least 2, a temperature is not
            positive, only half of the annealing is given, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import RelaxedOneHot
        >>> posterior = RelaxedOneHot((7,), 6, groups=2, temperature=0.5).eval()
        >>> posterior(torch.zeros(5, 7)).sample().sum(-1)  # one 1 in each of the 2 groups
        tensor([2., 2., 2., 2., 2.])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        groups: int = 1,
        temperature: float = 1.0,
        final_temperature: float | None = None,
        annealing_steps: int | None = None,
        straight_through: bool = False,
    ) -> None:
        check_size("latent_dim", latent_dim)
        if latent_dim % check_size("groups", groups) or latent_dim < 2 * groups:
            raise ValueError(
                f"latent_dim is {latent_dim} and groups {groups}: the latents must divide into "
                "groups of one size, at least 2."
            )
        super().__init__(event_shape, (latent_dim,), outputs=1, network=network)
        self.groups = groups
        self.temperature = Temperature(temperature, final_temperature, annealing_steps)
        self.straight_through = straight_through

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        (logits,) = self.raw(x)
        logits = logits.unflatten(-1, (self.groups, -1))
        return distributions.RelaxedOneHot(logits, self.temperature(), self.straight_through)
