"""Differentiable annealed importance sampling as a posterior."""

from functools import partial

import torch
from torch import Tensor, nn

from pvae.annotations import NetworkOrFactory, Shape
from pvae.posteriors.evolving import Evolving, LogDensity, Slopes, log_standard, slope


class DAIS(Evolving):
    r"""Differentiable annealed importance sampling (Geffner, Domke 2021; Zhang et al. 2021).

    A draw z_0 of a diagonal normal q_0 takes K leapfrog steps, the k-th along the gradient of

    .. math::
        (1 - \beta_k) \log q_0(z|x) + \beta_k \log p(x, z), \quad 0 < \beta_1 < \dots < \beta_K = 1,

    and between them part of the momentum is drawn anew, v_k = g v'_k + sqrt(1 - g^2) noise. With
    the momenta as auxiliary variables, the score of a draw in the place of log q(z|x), see
    `pvae.distributions.Evolved`, is

    .. math::
        \log q_0(z_0|x) + \sum_{k=1}^K \log N(v_{k-1}; 0, I) - \log N(v'_k; 0, I),

    with v'_k the momentum after the k-th step. It is annealed importance sampling without its
    decisions to accept, so that the bound can be differentiated; it becomes tight as K grows.
    Step sizes, one for each latent, the betas and g are learned. A draw takes K + 1 gradients of
    the likelihood.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.
        steps: the number of leapfrog steps K.
        step_size: their first size.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, the step size is not positive, the network does not fit,
            or the VAE has labels that it sees.
        RuntimeError: if it is called before it is connected.

    Example:
        >>> import pvae, torch
        >>> vae = pvae.build((1, 8, 8), latent_dim=2, posterior=pvae.posteriors.DAIS)
        >>> vae.encode(torch.ones(5, 1, 8, 8)).sample().shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        steps: int = 5,
        step_size: float = 0.1,
    ) -> None:
        super().__init__(event_shape, latent_dim, network, steps, step_size)
        self.raw_betas = nn.Parameter(torch.zeros(self.steps))
        self.raw_kept = nn.Parameter(torch.tensor(2.0))  # of g = 0.88

    def evolve(self, z: Tensor, log_q: LogDensity, log_joint: LogDensity) -> tuple[Tensor, Tensor]:
        """Take the leapfrog steps."""
        betas = self.raw_betas.softmax(0).cumsum(0)
        kept = self.raw_kept.sigmoid()
        v, score = torch.randn_like(z), torch.zeros_like(z[..., 0])

        def slopes(z: Tensor) -> Slopes:
            return slope(log_q, z), slope(log_joint, z)

        at_z = slopes(z)
        for step, beta in enumerate(betas):
            before = log_standard(v)
            z, v, at_z = self.leapfrog(z, v, at_z, slopes, partial(torch.lerp, weight=beta))
            score = score + before - log_standard(v)
            if step + 1 < self.steps:
                v = kept * v + (1 - kept.square()).sqrt() * torch.randn_like(z)
        return z, score
