"""Pyro's affine autoregressive transform, with an inverse that can be traced."""

import torch
from pyro.distributions import transforms
from pyro.distributions.transforms.utils import clamp_preserve_gradients
from torch import Tensor


class AffineAutoregressive(transforms.AffineAutoregressive):
    r"""The map y_i = mu_i(x_1, ..., x_{i-1}) + sigma_i(x_1, ..., x_{i-1}) x_i.

    The inverse of Pyro's transform (Kingma et al. 2016) has single precision only, and reads the
    order of the dimensions from a tensor. This one takes any dtype and can be traced.

    Args:
        autoregressive_nn: returns mu and log sigma, such as `pyro.nn.AutoRegressiveNN`.

    Shape:
        (\*batch, d) to (\*batch, d).

    Example:
        >>> import torch
        >>> from pvae.distributions import AffineAutoregressive
        >>> from pyro.nn import AutoRegressiveNN
        >>> transform = AffineAutoregressive(AutoRegressiveNN(3, [8]).double())
        >>> transform.inv(torch.randn(5, 3, dtype=torch.float64)).dtype
        torch.float64
    """

    def _inverse(self, y: Tensor) -> Tensor:
        place = self.arn.permutation.argsort()
        x = log_scale = torch.zeros_like(y)
        for i in range(y.shape[-1]):
            mean, log_scale = self.arn(x)
            log_scale = clamp_preserve_gradients(
                log_scale, self.log_scale_min_clip, self.log_scale_max_clip
            )
            x = torch.where(place == i, (y - mean) * (-log_scale).exp(), x)
        # No scale depends on the last dimension, so these are the scales at x.
        self._cached_log_scale = log_scale
        return x
