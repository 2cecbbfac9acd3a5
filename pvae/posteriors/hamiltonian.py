"""The Hamiltonian posterior."""

import torch
from torch import Tensor, nn

from pvae.annotations import NetworkOrFactory, Shape
from pvae.posteriors.evolving import Evolving, LogDensity, Slopes, log_standard, slope


class Hamiltonian(Evolving):
    r"""Hamiltonian importance sampling as a posterior (Caterini, Doucet, Sejdinovic 2018).

    A draw z_0 of a diagonal normal and a momentum v_0 of N(0, I / b_0) take K leapfrog steps along
    the gradient of log p(x, z), and the momentum is cooled after each,

    .. math::
        v_k \leftarrow \sqrt{b_{k-1} / b_k}\; v_k, \quad
        \sqrt{b_k} = \Big( \frac{k^2}{K^2} (1 - b_0^{-1/2}) + b_0^{-1/2} \Big)^{-1},
        \quad b_0 < 1, \ b_K = 1.

    The steps are deterministic, so that with the momentum as an auxiliary variable the score of a
    draw in the place of log q(z|x), see `pvae.distributions.Evolved`, is

    .. math::
        \log q_0(z_0|x) + \log N(\sqrt{b_0}\, v_0; 0, I) - \log N(v_K; 0, I).

    The ELBO is that of the paper (eq. 8), and importance weights are unbiased. Step sizes, one for
    each latent, and b_0 are learned. A draw takes K + 1 gradients of
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
        >>> vae = pvae.build((1, 8, 8), latent_dim=2, posterior=pvae.posteriors.Hamiltonian)
        >>> vae.encode(torch.ones(5, 1, 8, 8)).sample().shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        steps: int = 3,
        step_size: float = 0.1,
    ) -> None:
        super().__init__(event_shape, latent_dim, network, steps, step_size)
        self.raw_temperature = nn.Parameter(torch.tensor(2.0))  # of b_0 = 0.88

    def evolve(self, z: Tensor, log_q: LogDensity, log_joint: LogDensity) -> tuple[Tensor, Tensor]:
        """Take the leapfrog steps."""
        noise = torch.randn_like(z)
        hot = self.raw_temperature.sigmoid().rsqrt()  # 1 / sqrt(b_0)
        v, root = noise * hot, hot

        def slopes(z: Tensor) -> Slopes:
            return (slope(log_joint, z),)

        at_z = slopes(z)
        for step in range(1, self.steps + 1):
            z, v, at_z = self.leapfrog(z, v, at_z, slopes, lambda joint: joint)
            cooler = (step / self.steps) ** 2 * (1 - hot) + hot  # 1 / sqrt(b_k)
            v, root = v * cooler / root, cooler
        return z, log_standard(noise) - log_standard(v)
