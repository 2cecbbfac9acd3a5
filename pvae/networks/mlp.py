"""The fully connected network."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from pvae.annotations import Shape
from pvae.checks import check_shape
from pvae.messages import shown
from pvae.networks.activations import activation as make_activation
from pvae.networks.activations import dropout as make_dropout
from pvae.networks.shapes import batched

INITIALIZATIONS = ("torch", "glorot")


class MLP(nn.Module):
    r"""A multilayer perceptron from one event shape to another.

    .. math::
        h_0 = x, \quad h_l = a(W_l h_{l-1} + b_l), \quad f(x) = W_L h_{L-1} + b_L

    The input is flattened and passes through hidden layers, each linear, activation and dropout,
    and a last linear layer whose output is reshaped to the output shape.

    Args:
        in_shape: event shape of the input.
        out_shape: event shape of the output.
        hidden: sizes of the hidden layers; empty for a linear map.
        activation: relu, leaky_relu, elu, gelu, silu, softplus, tanh or sigmoid.
        dropout: probability that a hidden unit is dropped in training; ``None`` for 0, or for the
            default of `pvae.build` for the kind of data.
        initialization: of the weights: ``"torch"`` for that of `torch.nn.Linear`, ``"glorot"`` for
            uniform draws of the variance of Glorot and Bengio (2010), and biases of 0.

    Shape:
        (\*batch, \*in_shape) to (\*batch, \*out_shape), with any batch dimensions.

    Raises:
        ValueError: if a size is below 1, the activation or initialization unknown, or dropout
            outside [0, 1).

    Example:
        >>> import torch
        >>> from pvae.networks import MLP
        >>> MLP((1, 28, 28), (40,), hidden=[400])(torch.zeros(5, 3, 1, 28, 28)).shape
        torch.Size([5, 3, 40])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        hidden: Sequence[int] = (400,),
        activation: str = "relu",
        dropout: float | None = None,
        initialization: str = "torch",
    ) -> None:
        super().__init__()
        self.in_shape = check_shape("in_shape", in_shape)
        self.out_shape = check_shape("out_shape", out_shape)
        none = isinstance(hidden, Sequence) and not hidden
        hidden = () if none else check_shape("hidden", hidden)
        drop = make_dropout(0.0 if dropout is None else dropout)
        if initialization not in INITIALIZATIONS:
            raise ValueError(
                f"initialization is {shown(initialization)}: it must be one of "
                f"{', '.join(map(repr, INITIALIZATIONS))}."
            )
        layers: list[nn.Module] = [nn.Flatten()]
        size = math.prod(self.in_shape)
        for width in hidden:
            layers += [nn.Linear(size, width), make_activation(activation), *drop]
            size = width
        layers += [
            nn.Linear(size, math.prod(self.out_shape)),
            nn.Unflatten(1, self.out_shape),
        ]
        self.layers = nn.Sequential(*layers)
        if initialization == "glorot":
            for layer in self.layers:
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)

    @property
    def output_bias(self) -> nn.Parameter:
        """The bias of the output, shape (prod(out_shape),)."""
        return self.layers[-2].get_parameter("bias")

    def forward(self, x: Tensor) -> Tensor:
        r"""Map (\*batch, \*in_shape) to (\*batch, \*out_shape)."""
        return batched(self.layers, x, len(self.in_shape))
