"""The Wasserstein autoencoder."""

from pvae.objectives.info_vae import InfoVAE


class WAE(InfoVAE):
    r"""The Wasserstein autoencoder with an MMD penalty (Tolstikhin et al. 2018).

    .. math::
        E[-\log p(x|z)] + \lambda\, MMD(q(z), p(z))

    per datum: `InfoVAE` with alpha = 1. The cost of reconstruction is −log p(x|z), which for a
    Gaussian likelihood of fixed scale is the squared error over twice its variance, and a constant.
    No KL is computed, so q(z|x) may be a point.

    Args:
        lambda_: the weight of the discrepancy, at least 0.
        kernel: ``"imq"``, an inverse multiquadric of several scales, or ``"rbf"``.

    Raises:
        ValueError: if lambda is negative, or the kernel unknown.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import WAE
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> loss = WAE(lambda_=10.0).loss(vae.model, vae.guide, torch.ones(5, 1, 8, 8))
    """

    def __init__(self, lambda_: float = 10.0, kernel: str = "imq") -> None:
        super().__init__(1.0, lambda_, kernel)
