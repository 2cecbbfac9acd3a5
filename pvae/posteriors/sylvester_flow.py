"""The Sylvester flow."""

import torch
from pyro.distributions.transforms.householder import ConditionedHouseholder
from torch import Tensor
from torch.distributions import Transform

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.posteriors.flow import Flow, Step, matvec


class SylvesterFlow(Flow):
    r"""A diagonal normal through Sylvester steps (van den Berg et al. 2018).

    .. math::
        f(z) = z + Q R \tanh(\tilde R Q^T z + b), \quad
        \log |\det| = \sum_i \log(1 + (1 - \tanh^2_i)\, R_{ii} \tilde R_{ii})

    with Q orthogonal and R, R-tilde upper triangular: planar steps along all directions at once.
    This is their Householder variant, where Q is a product of reflections. The diagonals are kept
    in (-1, 1) by tanh, which makes the step invertible. The network returns mu, log sigma, and the
    parameters of every step.

    The inverse has no closed form: the distribution scores only the latest of its own draws, as
    inference requires, and raises NotImplementedError for other points.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d + layers d (d + 3 + reflections),): a module, or a
            factory that takes the two shapes; ``None`` for an `MLP`.
        layers: the number of steps.
        reflections: the number of reflections that make up a Q.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import SylvesterFlow
        >>> q = SylvesterFlow((1, 8, 8), 2, layers=4)(torch.zeros(5, 1, 8, 8))
        >>> q.log_prob(q.rsample()).shape
        torch.Size([5])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        layers: int = 4,
        reflections: int = 4,
    ) -> None:
        d = check_size("latent_dim", latent_dim)
        step = [d * d, d, d, d, d * check_size("reflections", reflections)]
        super().__init__(event_shape, d, step * check_size("layers", layers), network)

    def steps(self, *vectors: Tensor) -> list[Transform]:
        """Return the Sylvester steps."""
        return [_Sylvester(*vectors[i : i + 5]) for i in range(0, len(vectors), 5)]


class _Sylvester(Step):
    def __init__(
        self, triangles: Tensor, diagonal: Tensor, diagonal_tilde: Tensor, b: Tensor, v: Tensor
    ) -> None:
        super().__init__()
        d = b.shape[-1]
        triangles = triangles.unflatten(-1, (d, d))
        self.diagonal, self.diagonal_tilde = diagonal.tanh(), diagonal_tilde.tanh()
        self.r = triangles.triu(1) + self.diagonal.diag_embed()
        self.r_tilde = triangles.mT.triu(1) + self.diagonal_tilde.diag_embed()
        self.b = b
        self.q = ConditionedHouseholder(v.unflatten(-1, (-1, d)))

    def call_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(matvec(self.r_tilde, self.q._inverse(x)) + self.b)
        y = x + self.q._call(matvec(self.r, h))
        return y, torch.log1p((1 - h.square()) * self.diagonal * self.diagonal_tilde).sum(-1)
