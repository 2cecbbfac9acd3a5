"""Different importance-weighted bounds for model and posterior."""

import math

from torch import Tensor

from pvae.objectives.miwae import MIWAE


class PIWAE(MIWAE):
    r"""Different bounds for training model and posterior (Rainforth et al. 2018).

    .. math::
        \theta: E \log \frac{1}{MK} \sum_{m,k} w_{mk}, \qquad
        \phi: E \frac{1}{M} \sum_m \log \frac{1}{K} \sum_k w_{mk}

    The model p(x, z) is trained by the importance-weighted bound of all M K draws, the tightest;
    the posterior q(z|x) by `MIWAE`, the average of M bounds of K draws each, whose gradient has
    less noise. The reported loss is that of the first.

    Parameters of both, such as an encoder inside the prior, are trained by both. The posterior
    must have draws that carry gradients and a density that can be evaluated anywhere, as for the
    gradient ``stl`` of `ImportanceWeighted`.

    Args:
        num_bounds: bounds M that are averaged.
        num_samples: draws K in each.
        gradient: of the posterior: ``"plain"``, ``"stl"`` or ``"dreg"``, as in
            `ImportanceWeighted`.

    Raises:
        ValueError: if a number is below 1, or the gradient unknown.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import PIWAE
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> loss = PIWAE(num_bounds=4, num_samples=8).loss(
        ...     vae.model, vae.guide, torch.ones(5, 1, 8, 8)
        ... )
    """

    _separate = True

    def _bound(self, log_w: Tensor) -> Tensor:
        return log_w.flatten(0, 1).logsumexp(0) - math.log(self.num_particles)

    def _model_shares(self, log_w: Tensor) -> Tensor:
        return log_w.flatten(0, 1).softmax(0).reshape(log_w.shape)
