"""The convolutional network, from image to code or from code to image."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pvae.annotations import Shape
from pvae.checks import check_shape, check_size
from pvae.networks.activations import activation as make_activation
from pvae.networks.activations import dropout as make_dropout
from pvae.networks.shapes import batched

SMALLEST = 8  # pixels a side


class Conv(nn.Module):
    """Strided convolutions from an image to a code, or transposed ones from a code to an image.

    The shapes decide which of the two: the one with three sizes is the image. Each stage
    halves the sides (rounding up) by a 3 × 3 convolution of stride 2; a linear layer of
    ``hidden`` units joins the last stage to the code. The transposed network mirrors it, and
    returns every height and width exactly, odd or even.

    Args:
        in_shape: event shape of the input, (C, H, W) or (D,).
        out_shape: event shape of the output, (D,) or (C, H, W).
        channels: channels of the stages, from the image to the code.
        hidden: size of the fully connected layer between the stages and the code.
        activation: relu, leaky_relu, elu, gelu, silu, softplus, tanh or sigmoid.
        dropout: probability that a unit of the fully connected layer is dropped in training.

    Shape:
        (\\*batch, \\*in_shape) to (\\*batch, \\*out_shape), with any batch dimensions.

    Raises:
        ValueError: if not exactly one of the shapes is an image, an image side is below 8 pixels,
            a size is below 1, the activation unknown, or dropout outside [0, 1).

    Example:
        >>> import torch
        >>> from pvae.networks import Conv
        >>> Conv((1, 28, 20), (4,))(torch.zeros(5, 1, 28, 20)).shape
        torch.Size([5, 4])
        >>> Conv((2,), (1, 28, 20))(torch.zeros(5, 2)).shape
        torch.Size([5, 1, 28, 20])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (32, 64),
        hidden: int = 256,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_shape = check_shape("in_shape", in_shape)
        self.out_shape = check_shape("out_shape", out_shape)
        channels = check_shape("channels", channels)
        check_size("hidden", hidden)
        drop = make_dropout(dropout)
        images = [s for s in (self.in_shape, self.out_shape) if len(s) == 3]
        codes = [s for s in (self.in_shape, self.out_shape) if len(s) == 1]
        if not (len(images) == len(codes) == 1):
            raise ValueError(
                f"Conv joins an image (C, H, W) and a code (D,), but was given {self.in_shape} "
                f"and {self.out_shape}: use MLP for data that are not images."
            )
        (image,), (code,) = images, codes
        if min(image[1:]) < SMALLEST:
            raise ValueError(
                f"Conv needs images of at least {SMALLEST} × {SMALLEST} pixels, but was given "
                f"{image[1]} × {image[2]}: use MLP, or larger images."
            )
        stages = [image]
        for c in channels:
            _, height, width = stages[-1]
            stages.append((c, (height + 1) // 2, (width + 1) // 2))
        size = stages[-1][0] * stages[-1][1] * stages[-1][2]

        def act() -> nn.Module:
            return make_activation(activation)

        layers: list[nn.Module] = []
        if image == self.in_shape:
            for a, b in pairwise(stages):
                layers += [nn.Conv2d(a[0], b[0], 3, stride=2, padding=1), act()]
            layers += [nn.Flatten(), nn.Linear(size, hidden), act()]
            layers += [*drop, nn.Linear(hidden, code[0])]
        else:
            layers += [nn.Linear(code[0], hidden), act(), *drop]
            layers += [nn.Linear(hidden, size), nn.Unflatten(1, stages[-1])]
            for b, a in pairwise(reversed(stages)):
                # A stride of 2 maps sides of 2n - 1 and of 2n both to n; the output padding of the
                # transposed convolution says which of the two it was.
                odd = (a[1] - 2 * b[1] + 1, a[2] - 2 * b[2] + 1)
                layers += [
                    act(),
                    nn.ConvTranspose2d(b[0], a[0], 3, stride=2, padding=1, output_padding=odd),
                ]
        self.layers = nn.Sequential(*layers)

    @property
    def output_bias(self) -> nn.Parameter:
        """The bias of the output: one value per channel, or (D,)."""
        return self.layers[-1].get_parameter("bias")

    def forward(self, x: Tensor) -> Tensor:
        """Map (\\*batch, \\*in_shape) to (\\*batch, \\*out_shape)."""
        return batched(self.layers, x, len(self.in_shape))
