"""The average of several importance-weighted bounds."""

from pvae.checks import check_size
from pvae.objectives.importance_weighted import ImportanceWeighted


class MIWAE(ImportanceWeighted):
    r"""The average of M importance-weighted bounds of K draws each (Rainforth et al. 2018).

    .. math::
        E \frac{1}{M} \sum_{m=1}^M \log \frac{1}{K} \sum_{k=1}^K w_{mk}

    M = 1 is `ImportanceWeighted`, K = 1 the ELBO with M draws. For a given number M K of draws,
    a larger K tightens the bound, a larger M reduces the noise of the posterior's gradient.

    Args:
        num_bounds: bounds M that are averaged.
        num_samples: draws K in each.
        gradient: ``"plain"``, ``"stl"`` or ``"dreg"``, as in `ImportanceWeighted`.

    Raises:
        ValueError: if a number is below 1, or the gradient unknown.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import MIWAE
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> loss = MIWAE(num_bounds=4, num_samples=8).loss(
        ...     vae.model, vae.guide, torch.ones(5, 1, 8, 8)
        ... )
    """

    def __init__(self, num_bounds: int = 8, num_samples: int = 8, gradient: str = "plain") -> None:
        self.num_bounds = check_size("num_bounds", num_bounds)
        super().__init__(num_samples, gradient)
