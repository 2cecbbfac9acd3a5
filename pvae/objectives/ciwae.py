"""A mixture of ELBO and importance-weighted bound."""

from pvae.checks import check_number
from pvae.objectives.importance_weighted import ImportanceWeighted


class CIWAE(ImportanceWeighted):
    r"""A convex combination of ELBO and importance-weighted bound (Rainforth et al. 2018).

    .. math::
        E \Bigl[ \beta\, \frac{1}{K} \sum_{k=1}^K \log w_k
        + (1 - \beta) \log \frac{1}{K} \sum_{k=1}^K w_k \Bigr]

    The posterior learns from the first, the model mostly from the second.

    Args:
        beta: the share of the ELBO: 0 is `ImportanceWeighted`, 1 the ELBO with K draws.
        num_samples: draws K for each datum.
        gradient: ``"plain"``, ``"stl"`` or ``"dreg"``, as in `ImportanceWeighted`.

    Raises:
        ValueError: if beta is outside [0, 1], num_samples below 1, or the gradient unknown.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import CIWAE
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> loss = CIWAE(beta=0.5, num_samples=8).loss(vae.model, vae.guide, torch.ones(5, 1, 8, 8))
    """

    def __init__(self, beta: float = 0.5, num_samples: int = 8, gradient: str = "plain") -> None:
        if not 0 <= check_number("beta", beta) <= 1:
            raise ValueError(f"beta is {beta}: the share of the ELBO must lie between 0 and 1.")
        self.beta = beta
        super().__init__(num_samples, gradient)
