"""The Student-t posterior."""

import pyro.distributions as dist
from torch import Tensor

import pvae.distributions.divergences  # noqa: F401  (its KL to independent normals)
from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_number
from pvae.conditional import Conditional


class StudentT(Conditional):
    r"""Independent latents of Student's t.

    .. math::
        z_i = \mu_i(x) + \sigma_i(x)\, t_i, \qquad t_i \sim t_\nu

    The fewer degrees of freedom nu, the heavier its tails; importance weights can stay bounded when
    those of a normal do not. The network returns mu and log sigma for each latent. The KL to
    independent normals is in closed form; it is infinite for nu up to 2, so do not combine these
    with a normal prior.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.
        degrees_of_freedom: nu, positive; the mean exists above 1, the variance above 2.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if degrees_of_freedom is not positive and finite, a size is below 1, or the
            network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import StudentT
        >>> StudentT((7,), 3, degrees_of_freedom=4)(torch.zeros(5, 7)).event_shape
        torch.Size([3])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        degrees_of_freedom: float = 5.0,
    ) -> None:
        if not 0 < check_number("degrees_of_freedom", degrees_of_freedom) < float("inf"):
            raise ValueError(
                f"degrees_of_freedom is {degrees_of_freedom}: it must be a positive number."
            )
        super().__init__(event_shape, (latent_dim,), outputs=2, network=network)
        self.degrees_of_freedom = degrees_of_freedom

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        loc, log_scale = self.raw(x)
        df = loc.new_tensor(self.degrees_of_freedom)
        return dist.StudentT(df, loc, log_scale.exp()).to_event(1)
