"""The residual convolutional network, between an image and a code or between images."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pvae.annotations import Shape
from pvae.checks import check_levels, check_shape, check_size
from pvae.messages import shown
from pvae.networks.activations import activation as make_activation
from pvae.networks.shapes import batched

SMALLEST = 8  # pixels a side
COARSEST = 8  # pixels that the longer side has at most after the last of the stages by default
WIDTHS = (32, 64, 128)  # default channels of the stages; all further ones have the last
GROUPS = 8  # of a group normalization, or fewer if they do not divide the channels
NORMALIZATIONS = ("group", None)


class ResidualBlock(nn.Module):
    r"""A bottleneck block h + f(h), with f scaled down so that many of them stay stable.

    f is four convolutions, 1 × 1, 3 × 3, 3 × 3 and 1 × 1, each after an activation, with half of
    the channels between them (Child 2021; He et al. 2016). The weights of the last one
    are multiplied by 1 / √N for a network of N blocks, and all biases start at 0, so that the
    variance of the sum of all blocks does not grow with their number (Child 2021).

    Args:
        channels: of the input and output.
        total: the number N of blocks of the network.
        normalization: ``"group"`` or ``None``, before the first activation.
        activation: its name.
    """

    def __init__(
        self, channels: int, total: int, normalization: str | None, activation: str
    ) -> None:
        super().__init__()
        middle = max(1, channels // 2)
        sizes = ((channels, middle, 1), (middle, middle, 3), (middle, middle, 3))
        layers: list[nn.Module] = []
        if normalization is not None:
            layers.append(nn.GroupNorm(math.gcd(GROUPS, channels), channels))
        for size, out, kernel in (*sizes, (middle, channels, 1)):
            layers += [
                make_activation(activation),
                nn.Conv2d(size, out, kernel, padding=kernel // 2),
            ]
        self.layers = nn.Sequential(*layers)
        with torch.no_grad():
            self.layers[-1].get_parameter("weight").mul_(total**-0.5)
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                    layer.bias.zero_()  # or they would add up

    def forward(self, h: Tensor) -> Tensor:
        """Map (n, channels, height, width) to the same shape."""
        return h + self.layers(h)


def residual_blocks(
    channels: int, blocks: int, total: int, normalization: str | None, activation: str
) -> nn.Sequential:
    """Several blocks one after the other; arguments as of `ResidualBlock`."""
    made = (ResidualBlock(channels, total, normalization, activation) for _ in range(blocks))
    return nn.Sequential(*made)


class Resize(nn.Module):
    """Repeat pixels to another height and width."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = height, width

    def forward(self, h: Tensor) -> Tensor:
        """Map (n, channels, *) to (n, channels, height, width)."""
        return h if h.shape[-2:] == self.size else interpolate(h, size=self.size)


class ResNet(nn.Module):
    r"""Residual blocks at halving resolutions, from an image to a code, or from a code to an image.

    Each stage has ``blocks`` bottleneck blocks with identity connections (He et al. 2016; Child
    2021); between stages a convolution of stride 2 halves the sides (rounding up), or pixels are
    repeated to exactly twice, odd or even. The blocks are scaled so that dozens of them start
    stable, without normalization too (see `ResidualBlock`).

    The larger of the two shapes is the image. The code is a vector, or a map whose sides are those
    of the last stage. With ``levels`` it is a vector of several latents or of several numbers for
    each, as those of a `pvae.priors.TopDown`: a map is then read and written at the stage of its
    resolution, a vector at the last stage.

    Args:
        in_shape: event shape of the input, (C, H, W) or (D,).
        out_shape: event shape of the output, (C, H, W) or (D,).
        channels: channels of the stages, from the image to the code; ``None`` for 32, 64, 128,
            128, ... until the longer side is at most 8 pixels, or the code has these sides.
        blocks: blocks of each stage.
        normalization: ``"group"`` for group normalization (Wu and He 2018), ``None`` for none.
        activation: relu, leaky_relu, elu, gelu, silu, softplus, tanh or sigmoid.
        levels: shapes of the levels in the code, from the top down; ``None`` for one code.

    Shape:
        (\*batch, \*in_shape) to (\*batch, \*out_shape), with any batch dimensions.

    Raises:
        ValueError: if no shape is an image, an image side is below 8 pixels, a map fits no stage, a
            size is below 1, or the activation or normalization unknown.

    Example:
        >>> import torch
        >>> from pvae.networks import ResNet
        >>> ResNet((3, 32, 32), (10,), blocks=1)(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 10])
        >>> ResNet((4, 7, 7), (1, 28, 28), blocks=1)(torch.zeros(5, 4, 7, 7)).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] | None = None,
        blocks: int = 2,
        normalization: str | None = None,
        activation: str = "relu",
        levels: Sequence[int | Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.in_shape = check_shape("in_shape", in_shape)
        self.out_shape = check_shape("out_shape", out_shape)
        check_size("blocks", blocks)
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization is {shown(normalization)}: it must be 'group' or None."
            )
        shapes = self.in_shape, self.out_shape
        self.encodes = math.prod(shapes[0][1:]) >= math.prod(shapes[1][1:])
        image, code = shapes if self.encodes else shapes[::-1]
        if len(image) != 3 or len(code) not in (1, 3):
            raise ValueError(
                f"ResNet joins an image (C, H, W) and a code, but was given {in_shape} and "
                f"{out_shape}: use MLP for data that are not images."
            )
        if min(image[1:]) < SMALLEST:
            raise ValueError(
                f"ResNet needs images of at least {SMALLEST} × {SMALLEST} pixels, but was given "
                f"{image[1]} × {image[2]}: use MLP, or larger images."
            )
        self.by_level = levels is not None
        self.levels = _levels_of(code, levels, self.encodes)
        widths = None if channels is None else check_shape("channels", channels)
        self.stages = _stages(image, self.levels, widths)
        self.places = _places(self.levels, self.stages)
        # How many numbers the code has for each latent.
        self.numbers = code[0] // sum(map(math.prod, self.levels)) if self.by_level else 1
        self.bodies = nn.ModuleList(
            residual_blocks(c, blocks, blocks * len(self.stages), normalization, activation)
            for c, _, _ in self.stages
        )
        self.moves = nn.ModuleList(_moves(self.stages, self.encodes))
        self.image = _image_layer(image[0], self.stages[0][0], self.encodes, activation)
        self.codes = nn.ModuleList(
            _code_layer(level, self.numbers, self.stages[i], self.encodes, activation)
            for level, i in zip(self.levels, self.places, strict=True)
        )

    @property
    def output_bias(self) -> Tensor | None:
        """The bias of the output: one value per channel, or (D,); ``None`` for several levels."""
        if self.encodes and self.by_level:
            return None
        last = self.codes[0] if self.encodes else self.image
        return [*last.modules()][-1].get_parameter("bias")

    def forward(self, x: Tensor) -> Tensor:
        r"""Map (\*batch, \*in_shape) to (\*batch, \*out_shape)."""
        return batched(self._encode if self.encodes else self._decode, x, len(self.in_shape))

    def _encode(self, x: Tensor) -> Tensor:
        h, maps = self.image(x), []
        for body, move in zip(self.bodies, (*self.moves, nn.Identity()), strict=True):
            maps.append(body(h))
            h = move(maps[-1])
        found = [layer(maps[i]) for layer, i in zip(self.codes, self.places, strict=True)]
        if not self.by_level:
            return found[0]
        # All first numbers, then all second ones, as distributions split their parameters.
        numbers = [f.flatten(1).unflatten(1, (self.numbers, -1)) for f in found]
        return torch.cat(numbers, 2).flatten(1)

    def _decode(self, z: Tensor) -> Tensor:
        parts = z.split([*map(math.prod, self.levels)], 1) if self.by_level else (z,)
        given: dict[int, Tensor] = {}
        for layer, i, level, part in zip(self.codes, self.places, self.levels, parts, strict=True):
            h = layer(part.reshape(len(z), *level))
            given[i] = given[i] + h if i in given else h
        *others, last = range(len(self.stages))
        h = self.bodies[last](given[last])
        for i in reversed(others):
            h = self.moves[i](h)
            h = self.bodies[i](h + given[i] if i in given else h)
        return self.image(h)


def _levels_of(
    code: Shape, levels: Sequence[int | Sequence[int]] | None, encodes: bool
) -> tuple[Shape, ...]:
    """The shapes of what the code consists of."""
    if levels is None:
        return (code,)
    shapes = check_levels(levels)
    size = sum(map(math.prod, shapes))
    if len(code) != 1 or (code[0] % size if encodes else code[0] != size):
        raise ValueError(
            f"The levels {shown(levels)} have {size} latents, and the code has shape {code}: it "
            "must be a vector of these, or for an encoder of as many numbers for each."
        )
    return shapes


def _stages(image: Shape, levels: Sequence[Shape], channels: Shape | None) -> list[Shape]:
    """The shapes of the stages, from the image to the code."""
    maps = [level[1:] for level in levels if len(level) == 3]
    coarsest = min(maps) if len(maps) == len(levels) else None
    least = COARSEST if coarsest is None else 1
    stages: list[Shape] = []
    height, width = image[1:]
    while True:
        default = WIDTHS[min(len(stages), len(WIDTHS) - 1)]
        stages.append((channels[len(stages)] if channels else default, height, width))
        if channels:
            if len(stages) == len(channels):
                return stages
        elif (height, width) == coarsest or max(height, width) <= least:
            return stages
        height, width = (height + 1) // 2, (width + 1) // 2


def _places(levels: Sequence[Shape], stages: Sequence[Shape]) -> list[int]:
    """The stage of each level: that of its resolution, the last one for a vector."""
    sides = [stage[1:] for stage in stages]
    named = ", ".join(f"{h} × {w}" for h, w in sides)
    for level in levels:
        if len(level) == 3 and level[1:] not in sides:
            raise ValueError(
                f"A map of {level[1]} × {level[2]} fits no stage of the network, whose sides are "
                f"{named}: choose one of these, or other channels."
            )
    # A map is at the first of equal resolutions; only stages of one pixel repeat theirs.
    places = [sides.index(level[1:]) if len(level) == 3 else len(sides) - 1 for level in levels]
    if max(places) < len(sides) - 1:
        raise ValueError(
            f"No part of the code is at the last stage of the network, whose sides are {named}: "
            "give fewer channels."
        )
    return places


def _moves(stages: Sequence[Shape], encodes: bool) -> list[nn.Module]:
    """Layers between stages, the i-th between stages i and i + 1."""
    if encodes:
        return [nn.Conv2d(a[0], b[0], 3, stride=2, padding=1) for a, b in pairwise(stages)]
    return [nn.Sequential(nn.Conv2d(b[0], a[0], 1), Resize(*a[1:])) for a, b in pairwise(stages)]


def _image_layer(colours: int, width: int, encodes: bool, activation: str) -> nn.Module:
    """The layer from the image to the first stage, or back."""
    if encodes:
        return nn.Conv2d(colours, width, 3, padding=1)
    return nn.Sequential(make_activation(activation), nn.Conv2d(width, colours, 3, padding=1))


def _code_layer(
    level: Shape, numbers: int, stage: Shape, encodes: bool, activation: str
) -> nn.Module:
    """The layer from a stage to a level of the code, or back."""
    size = numbers * level[0]
    if len(level) == 3:
        if encodes:
            return nn.Sequential(make_activation(activation), nn.Conv2d(stage[0], size, 1))
        return nn.Conv2d(size, stage[0], 1)
    area = math.prod(stage)
    if encodes:
        return nn.Sequential(make_activation(activation), nn.Flatten(), nn.Linear(area, size))
    return nn.Sequential(nn.Linear(size, area), nn.Unflatten(1, stage))
