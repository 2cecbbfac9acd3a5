"""The relaxed Bernoulli posterior."""

import pyro.distributions as dist
from torch import Tensor

from pvae import distributions
from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional
from pvae.posteriors.temperature import Temperature


class RelaxedBernoulli(Conditional):
    r"""A posterior over latents that are 0 or 1, relaxed in training.

    .. math::
        q(z|x) = \prod_i \mathrm{Bernoulli}(z_i; \mathrm{sigmoid}\ l_i(x)), \quad
        z_i \approx \mathrm{sigmoid}((l_i(x) + \text{logistic noise}) / t)

    In training mode draws are the relaxation at temperature t (Maddison et al. 2017), or with
    ``straight_through`` rounded to 0 or 1, with gradients of the relaxation. In evaluation mode
    they are exact, so that bounds are those of the discrete model. The network returns the logits
    l.

    The temperature may fall from its first to its final value, exponentially, over
    ``annealing_steps`` training passes.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (d,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.
        temperature: t, or its initial value.
        final_temperature: its final value; ``None`` for a fixed one.
        annealing_steps: training passes until then; ``None`` for a fixed one.
        straight_through: whether draws in training are 0 or 1 too.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a temperature is not positive, only half of the annealing is given, a size
            is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import RelaxedBernoulli
        >>> posterior = RelaxedBernoulli((7,), 3, temperature=0.5).eval()
        >>> posterior(torch.zeros(500, 7)).sample().unique()
        tensor([0., 1.])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        temperature: float = 1.0,
        final_temperature: float | None = None,
        annealing_steps: int | None = None,
        straight_through: bool = False,
    ) -> None:
        super().__init__(event_shape, (latent_dim,), outputs=1, network=network)
        self.temperature = Temperature(temperature, final_temperature, annealing_steps)
        self.straight_through = straight_through

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        (logits,) = self.raw(x)
        return distributions.RelaxedBernoulli(logits, self.temperature(), self.straight_through)
