"""The objective with a multi-scale structural similarity of data and reconstructions."""

from functools import reduce
from operator import add
from typing import Any

from pyro.distributions import TorchDistribution
from pyro.poutine import Trace
from torch import Tensor

from pvae.checks import check_number, check_size
from pvae.objectives.ms_ssim import ms_ssim
from pvae.objectives.objective import Objective, kl, latents, log_likelihood, weights
from pvae.objectives.reconstruction import bounds, data_site, decoded, has_counts


class StructuralSimilarity(Objective):
    r"""The ELBO with a structural similarity of images and reconstructions: a loss, **no bound**.

    .. math::
        E\bigl[\lambda\, (1 - \mathrm{MS\text{-}SSIM}(x, E[x|z])) - \alpha \log p(x|z)\bigr]
        + \beta\, KL(q(z|x) \,\|\, p(z))

    per datum. The multi-scale structural similarity (Wang, Simoncelli and Bovik 2003) compares
    brightness, contrast and structure around each pixel, as people do, where a log-likelihood
    counts pixels. It is the log of no density, so the VAE is not trained for log p(x), which falls.
    alpha = 1 adds it to the reconstruction term, as Zhao et al. (2017) add it to an absolute error;
    alpha = 0 replaces that term, as Snell et al. (2017) do, and then trains nothing of the
    likelihood but its mean, such as no learned scale.

    Values are rescaled to [0, 1] if the likelihood bounds them. There are as many scales as the
    window fits into, up to five: two for 28 × 28 pixels (see `pvae.objectives.ms_ssim`).

    Args:
        weight: lambda, in nats for the difference between 1 and 0, at least 0.
        likelihood: alpha, at least 0.
        beta: the weight of the KL, at least 0.
        window: pixels a side of the Gaussian window, odd, at least 3; no side of an image may be
            smaller.
        data_range: the difference between white and black in data that the likelihood does not
            bound; pvae rescales bytes to [0, 1] for it.

    Raises:
        ValueError: if a weight is negative or not finite, the window or data_range out of range;
            and from a step, if the data are not images (C, H, W), or counts, or smaller than the
            window, or the mean of the likelihood has no closed form.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import StructuralSimilarity
        >>> vae = pvae.build((1, 28, 28), latent_dim=2)
        >>> objective = StructuralSimilarity(weight=100.0)
        >>> loss = objective.loss(vae.model, vae.guide, torch.ones(5, 1, 28, 28))
    """

    is_bound = False

    def __init__(
        self,
        weight: float = 100.0,
        likelihood: float = 1.0,
        beta: float = 1.0,
        window: int = 11,
        data_range: float = 1.0,
    ) -> None:
        for name, value in {"weight": weight, "likelihood": likelihood, "beta": beta}.items():
            if not 0 <= check_number(name, value) < float("inf"):
                raise ValueError(f"{name} is {value}: it must be finite and at least 0.")
        if check_size("window", window) < 3 or window % 2 == 0:
            raise ValueError(f"window is {window}: it must be an odd number of at least 3.")
        if not 0 < check_number("data_range", data_range) < float("inf"):
            raise ValueError(f"data_range is {data_range}: it must be finite and above 0.")
        super().__init__()
        self.weight = weight
        self.likelihood = likelihood
        self.beta = beta
        self.window = window
        self.data_range = data_range

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        sites = latents(model_trace, guide_trace)
        loss = self.beta * reduce(add, (kl(q, p).sum() for q, p in sites))
        if self.likelihood:
            loss = loss - self.likelihood * log_likelihood(model_trace)
        site = data_site(model_trace, "StructuralSimilarity")
        return loss + self.weight * weights(site) @ (1 - self._similarity(site))

    def _similarity(self, site: Any) -> Tensor:
        """The similarity of each datum and its reconstruction, shape (n,)."""
        p, shape = site["fn"], tuple(site["fn"].event_shape)
        if len(shape) != 3 or has_counts(p):
            what = "counts" if has_counts(p) else f"data of shape {shape}"
            raise ValueError(
                f"StructuralSimilarity is for images (C, H, W) of grey or colour values, and these "
                f"are {what}: choose another objective."
            )
        pair = site["value"], decoded(p, "StructuralSimilarity")
        x, reconstruction = (self._unit(p, each).reshape(-1, *shape) for each in pair)
        return ms_ssim(x, reconstruction, self.window)

    def _unit(self, p: TorchDistribution, x: Tensor) -> Tensor:
        """Values in [0, 1]."""
        low, high = bounds(p) or (0, self.data_range)
        return (x - low) / (high - low)
