"""A VAE as the prior of another."""

from collections.abc import Callable
from functools import partial

from pvae.annotations import Likelihood, Network, Posterior, Prior, Shape
from pvae.likelihoods.gaussian import Gaussian
from pvae.networks.mlp import MLP
from pvae.posteriors.diagonal_normal import DiagonalNormal
from pvae.priors.standard_normal import StandardNormal
from pvae.vae import VAE


class Nested(VAE):
    r"""A hierarchical prior, itself a VAE over z.

    .. math::
        p(z) = \int p(u)\, p(z|u)\, du

    A VAE with this prior has two levels and the bottom-up posterior q(z|x) q(u|z); with a nested
    `Nested`, three, and so on (Rezende, Mohamed, Wierstra 2014; Tomczak and Welling 2018).

    Args:
        latent_dim: the number of latents z.
        upper_dim: the number of latents u; ``None`` for half as many, and at least 1.
        hidden: sizes of the hidden layers of both networks.
        prior: p(u), called as ``prior(upper_dim)``.
        likelihood: p(z|u), called as ``likelihood(upper_dim, (latent_dim,), network=...)``;
            ``None`` for a `Gaussian` whose scale is predicted.
        posterior: q(u|z), called as ``posterior((latent_dim,), upper_dim, network=...)``.

    Raises:
        ValueError: if a size is below 1, the parts do not fit, or the posterior has no
            reparameterized draws.

    Example:
        >>> import pvae
        >>> from functools import partial
        >>> from pvae.priors import Nested
        >>> two = pvae.build((1, 8, 8), latent_dim=8, prior=Nested)
        >>> three = pvae.build((1, 8, 8), latent_dim=8, prior=partial(Nested, prior=Nested))
        >>> three.sample(5).shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int,
        upper_dim: int | None = None,
        hidden: tuple[int, ...] = (100,),
        prior: Callable[[int], Prior] = StandardNormal,
        likelihood: Callable[[int, Shape], Likelihood] | None = None,
        posterior: Callable[[Shape, int], Posterior] = DiagonalNormal,
    ) -> None:
        upper_dim = max(1, latent_dim // 2) if upper_dim is None else upper_dim

        def network(in_shape: Shape, out_shape: Shape) -> Network:
            return MLP(in_shape, out_shape, hidden=hidden)

        # They take a network as well, which the types that the command line reads do not say.
        make_below: Callable[..., Likelihood] = likelihood or partial(Gaussian, scale="predicted")
        make_above: Callable[..., Posterior] = posterior
        below = make_below(upper_dim, (latent_dim,), network=network)
        above = make_above((latent_dim,), upper_dim, network=network)
        super().__init__(prior(upper_dim), below, above)
        with self.evaluating():
            if not self.posterior(self().sample((2,))).has_rsample:
                raise ValueError(
                    f"The posterior {type(self.posterior).__name__} has no reparameterized draws, "
                    "without which the levels below cannot learn: choose another for u."
                )
