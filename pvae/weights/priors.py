"""Priors over the weights of networks."""

import math
from abc import abstractmethod
from collections.abc import Mapping

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import is_real
from pvae.messages import shown

Scale = float | dict[str, float]


class WeightPrior(nn.Module):
    """Base class of priors over weights, independent given the scale of each tensor.

    Args:
        scale: the scale s, or scales by the beginning of a parameter's name, such as
            ``{"likelihood.network": 0.5}``, of which the longest that fits counts.
        fan_in: whether the scale of a tensor of two or more dimensions is divided by the square
            root of its inputs, so that the variance of a layer's output does not depend on its
            width (Neal 1996, section 2.1).

    Raises:
        ValueError: if a scale is not positive.
    """

    def __init__(self, scale: Scale = 1.0, fan_in: bool = True) -> None:
        super().__init__()
        self.scales = dict(scale) if isinstance(scale, Mapping) else {"": scale}
        for value in self.scales.values():
            if not is_real(value) or not 0 < value < math.inf:
                raise ValueError(
                    f"scale is {shown(value)}: the scale of a prior over weights must be a "
                    "positive number."
                )
        self.fan_in = fan_in

    def scale_of(self, name: str, shape: torch.Size) -> float:
        """The scale of a tensor of weights.

        Raises:
            ValueError: if the scales by name have none for it.
        """
        fitting = [key for key in self.scales if _begins(name, key)]
        if not fitting:
            raise ValueError(
                f"scale has no entry for the weights {name}: give one for the beginning of its "
                "name, such as 'likelihood'."
            )
        scale = self.scales[max(fitting, key=len)]
        return scale / math.sqrt(shape[1:].numel()) if self.fan_in and len(shape) > 1 else scale

    @abstractmethod
    def forward(self, name: str, like: Tensor) -> Tensor:
        """Sample a tensor of weights, at one site or several, and return it.

        Args:
            name: the name of the parameter; those of the sites begin with it.
            like: a tensor of its shape, dtype and device.
        """

    def initial(self, name: str, weight: Tensor) -> dict[str, Tensor]:
        """The values of the sites at which `forward` returns a weight."""
        return {name: weight}


class Normal(WeightPrior):
    r"""Independent normal weights.

    .. math::
        p(w) = \prod_i N(w_i; 0, s^2 / n), \qquad n \text{ the inputs of the layer}

    Args:
        scale: s, or scales by the beginning of a parameter's name.
        fan_in: whether n is the number of inputs of the layer, else 1. Biases have n = 1.

    Raises:
        ValueError: if a scale is not positive.

    Example:
        >>> import torch
        >>> from pvae.weights import Normal
        >>> Normal(2.0).scale_of("likelihood.network.weight", torch.Size([3, 16]))
        0.5
    """

    def forward(self, name: str, like: Tensor) -> Tensor:
        """Sample a tensor of weights at the site of its name."""
        zero = like.new_zeros(())
        p = dist.Normal(zero, zero + self.scale_of(name, like.shape))
        return pyro.sample(name, p.expand(like.shape).to_event())


class Laplace(WeightPrior):
    r"""Independent weights with Laplace distributions, which prefer weights near zero.

    .. math::
        p(w) = \prod_i \frac{1}{2 b} \exp(-|w_i| / b), \qquad b = s / \sqrt{2 n},

    so that s has the meaning of `Normal`: the standard deviation is :math:`s / \sqrt{n}`.

    Args:
        scale: s, or scales by the beginning of a parameter's name.
        fan_in: whether n is the number of inputs of the layer, else 1. Biases have n = 1.

    Raises:
        ValueError: if a scale is not positive.

    Example:
        >>> import torch
        >>> from pvae.weights import Laplace
        >>> Laplace()("bias", torch.empty(3)).shape
        torch.Size([3])
    """

    def forward(self, name: str, like: Tensor) -> Tensor:
        """Sample a tensor of weights at the site of its name."""
        zero = like.new_zeros(())
        p = dist.Laplace(zero, zero + self.scale_of(name, like.shape) / math.sqrt(2))
        return pyro.sample(name, p.expand(like.shape).to_event())


class Horseshoe(WeightPrior):
    r"""The horseshoe: most weights near zero, some far away (Carvalho, Polson, Scott 2010).

    .. math::
        w_i = \tau \lambda_i \epsilon_i, \qquad \epsilon_i \sim N(0, 1), \quad
        \lambda_i \sim C^+(0, 1), \quad \tau \sim C^+(0, s / \sqrt{n})

    Each tensor has its own :math:`\tau`. The sites are the three factors, ``name.noise``,
    ``name.local`` and ``name.global``, since a posterior of independent factors fits them better
    than the weights (Ghosh, Yao, Doshi-Velez 2018, section 4).

    Args:
        scale: s, or scales by the beginning of a parameter's name.
        fan_in: whether n is the number of inputs of the layer, else 1. Biases have n = 1.

    Raises:
        ValueError: if a scale is not positive.

    Example:
        >>> import torch
        >>> from pvae.weights import Horseshoe
        >>> Horseshoe()("bias", torch.empty(3)).shape
        torch.Size([3])
    """

    def forward(self, name: str, like: Tensor) -> Tensor:
        """Sample the factors of a tensor of weights, and return their product."""
        zero = like.new_zeros(())
        one, scale = zero + 1, zero + self.scale_of(name, like.shape)
        shape = like.shape
        shrink = pyro.sample(f"{name}.global", dist.HalfCauchy(scale))
        local = dist.HalfCauchy(one).expand(shape).to_event()
        noise = dist.Normal(zero, one).expand(shape).to_event()
        local = pyro.sample(f"{name}.local", local)
        return shrink * local * pyro.sample(f"{name}.noise", noise)

    def initial(self, name: str, weight: Tensor) -> dict[str, Tensor]:
        """The factors at which the product is a weight, with both scales at their medians."""
        scale = weight.new_tensor(self.scale_of(name, weight.shape))
        return {
            f"{name}.global": scale,
            f"{name}.local": torch.ones_like(weight),
            f"{name}.noise": weight / scale,
        }


def _begins(name: str, key: str) -> bool:
    return not key or name == key or name.startswith(f"{key}.")
