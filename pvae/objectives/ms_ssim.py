"""The multi-scale structural similarity of images."""

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales (Wang et al. 2003)
STABLE = (0.01**2, 0.03**2)  # what is added to means and variances, for values from 0 to 1
DEVIATION = 1.5  # of the Gaussian window, in pixels
LEAST = 1e-4  # of a factor below which it is cut: powers of 0 have no gradient


def ms_ssim(x: Tensor, y: Tensor, window: int = 11) -> Tensor:
    r"""Compute the multi-scale structural similarity (Wang, Simoncelli and Bovik 2003, eq. 7).

    .. math::
        \prod_{j=1}^M \overline{l}_j \, \overline{cs}_j^{\,w_j}, \qquad
        cs = \frac{2 \sigma_{xy} + c_2}{\sigma_x^2 + \sigma_y^2 + c_2}, \quad
        l = \frac{2 \mu_x \mu_y + c_1}{\mu_x^2 + \mu_y^2 + c_1}

    Means, variances and covariance are those within a Gaussian window around each pixel, of
    standard deviation 1.5 pixels, at all positions where it fits into the image. From each scale to
    the next 2 × 2 pixels are averaged; the brightness l counts at the coarsest scale only. There
    are five scales, or as many as the window fits into, whose weights are then rescaled to add up
    to 1; one is the structural similarity of Wang et al. (2004). Channels are averaged. Factors
    below 0.0001, of images that are each other's negative, are cut there.

    Args:
        x: images with values from 0 to 1, shape (n, C, H, W).
        y: the same shape.
        window: pixels a side of the window, odd.

    Returns:
        A similarity of at most 1, which equal images have, shape (n,).

    Raises:
        ValueError: if the window does not fit into the images.

    Example:
        >>> import torch
        >>> from pvae.objectives.ms_ssim import ms_ssim
        >>> x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> ms_ssim(x, x)
        tensor([1., 1.])
    """
    height, width = x.shape[-2:]
    number = scales(height, width, window)
    n, channels = x.shape[:2]
    x, y = (each.reshape(-1, 1, height, width) for each in (x, y))
    position = torch.arange(window, dtype=x.dtype, device=x.device) - window // 2
    kernel = (-0.5 * (position / DEVIATION) ** 2).exp()
    kernel = kernel / kernel.sum()
    result = torch.ones_like(x[:, 0, 0, 0])
    total = sum(WEIGHTS[:number])
    for scale in range(number):
        if scale:
            x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
        brightness, structure = _factors(x, y, kernel)
        last = scale == number - 1
        factor = (brightness * structure if last else structure).mean((1, 2, 3))
        result = result * factor.clamp_min(LEAST) ** (WEIGHTS[scale] / total)
    return result.reshape(n, channels).mean(1)


def scales(height: int, width: int, window: int) -> int:
    """The number of scales for images of this size, at most 5.

    Raises:
        ValueError: if the window does not fit into the images.
    """
    side = min(height, width)
    if side < window:
        raise ValueError(
            f"The images have {height} × {width} pixels: each side must have at least the {window} "
            "of the window; choose a smaller window, or larger images."
        )
    return min(len(WEIGHTS), 1 + int(math.log2(side // window)))


def _factors(x: Tensor, y: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness and structure around each pixel where the window fits, shape (n, 1, h, w)."""
    fields = torch.cat([x, y, x * x, y * y, x * y])
    fields = conv2d(conv2d(fields, kernel.reshape(1, 1, -1, 1)), kernel.reshape(1, 1, 1, -1))
    mean_x, mean_y, of_xx, of_yy, of_xy = fields.chunk(5)
    var_x, var_y, cov = of_xx - mean_x**2, of_yy - mean_y**2, of_xy - mean_x * mean_y
    brightness = (2 * mean_x * mean_y + STABLE[0]) / (mean_x**2 + mean_y**2 + STABLE[0])
    return brightness, (2 * cov + STABLE[1]) / (var_x + var_y + STABLE[1])
