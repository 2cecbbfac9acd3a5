"""The adversarial autoencoder."""

from collections.abc import Callable, Sequence
from typing import Any

from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.nn.functional import softplus

from pvae.checks import check_number
from pvae.objectives.discriminating import DiscriminatingLatents
from pvae.objectives.objective import latents, log_likelihood, rows, weighted, with_gradient_of


class AAE(DiscriminatingLatents):
    r"""The adversarial autoencoder (Makhzani et al. 2015): a loss, and **no bound**.

    .. math::
        E[-\log p(x|z)] - \lambda\, E[\log \mathrm{sigmoid}\, D(z)]

    per datum. A discriminator D is trained with the VAE to distinguish z, the aggregate posterior
    q(z), from draws of the prior, by the cross-entropy of its logit; the encoder is trained to
    have its z taken for those of the prior. No KL is computed, so q(z|x) may be a point
    (`pvae.posteriors.Delta`) or the posterior of a VAE. Where D cannot tell the two apart, q(z) is
    the prior, and the second term is lambda log 2. A learned prior is not trained by it.

    The discriminator belongs to the objective. One step trains both: the gradient of the VAE takes
    the discriminator as fixed, and that of the discriminator takes the latents as fixed.
    Under SVI its parameters are those of the parameter store named ``discriminator``; an optimizer
    that is given its parameters beforehand must have those of `parameters` as well. The loss is
    that of the VAE.

    Args:
        latent_dim: the number of latents.
        weight: lambda, at least 0.
        hidden: sizes of the discriminator's hidden layers.
        seed: of the discriminator's initial weights, as in `pvae.build`.

    Attributes:
        discriminator: maps z of shape (\*batch, latent_dim) to a logit of shape (\*batch, 1).

    Raises:
        ValueError: if a size is below 1 or the weight negative; and from a step, if the VAE has
            another number of latents, or draws that carry no gradients.

    Example:
        >>> import pvae, pyro, torch
        >>> from pvae.objectives import AAE
        >>> vae = pvae.build((1, 8, 8), latent_dim=2, posterior=pvae.posteriors.Delta)
        >>> objective = AAE(latent_dim=2, weight=10.0)
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), objective)
        >>> loss = svi.step(torch.ones(5, 1, 8, 8))
    """

    warms_up = False  # it has no KL
    is_bound = False

    def __init__(
        self,
        latent_dim: int,
        weight: float = 10.0,
        hidden: Sequence[int] = (256, 256),
        seed: int | None = 0,
    ) -> None:
        if not 0 <= check_number("weight", weight) < float("inf"):
            raise ValueError(f"weight is {weight}: it must be finite and at least 0.")
        super().__init__(latent_dim, hidden, seed)
        self.weight = weight

    def _get_trace(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> tuple[Trace, Trace]:
        return super()._get_trace(_DrawPrior()(model), guide, args, kwargs)

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        sites = latents(model_trace, guide_trace)
        z = self._latents([q for q, _ in sites])
        drawn = rows([p for _, p in sites], "drawn").detach()
        # The latents of a datum are one row, with the scale and the mask of the first of them.
        first = sites[0][0]

        def total(each: Tensor) -> Tensor:
            return weighted(first, each.reshape(first["fn"].batch_shape)).sum()

        loss = self.weight * total(softplus(-self._fixed(z))) - log_likelihood(model_trace)
        ours, theirs = self.discriminator(z.detach()), self.discriminator(drawn)
        return with_gradient_of(loss, loss + total(softplus(ours) + softplus(-theirs)))


class _DrawPrior(Messenger):
    """Draw every latent from the prior as well."""

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg):
            msg["drawn"] = msg["fn"]()
