"""Conversion of stored values to the domain of a likelihood: binarization and dequantization."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pvae.data.domains import DEQUANTIZED, check
from pvae.interfaces import Domain

TINY, EPS = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).eps


def convert(
    x: Tensor,
    domain_from: Domain,
    value_range: tuple[float, float],
    domain_to: Domain,
    binarization: Literal["dynamic", "threshold"] = "dynamic",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Convert stored values to the domain of a likelihood.

    Grey values under a binary likelihood are probabilities: ``"dynamic"`` draws anew at each call
    from Bernoulli(x / high), always 0 at 0 and 1 at high, and ``"threshold"`` gives whether
    x / high exceeds one half. Bytes under a density, of reals, positive reals or the open unit
    interval, are dequantized to (x + u) / (high + 1) with u uniform on (0, 1), so that their
    log-density less log(high + 1) per element is, on average over u, a lower bound of the
    log-probability of the bytes [1]_. For the unit interval bytes are divided by high. All other
    values stay unchanged, except those that ``float32`` would round to an end of an open interval.

    Args:
        x: values of any shape, ``uint8`` where they are bytes.
        domain_from: their domain.
        value_range: the lowest and highest value; the highest is the level for 1.
        domain_to: the domain of the likelihood.
        binarization: how grey values become binary.
        generator: for random draws, on the device of ``x``; torch's global one by default.

    Returns:
        ``float32`` of the shape and on the device of ``x``.

    Raises:
        ValueError: if the data have no valid conversion to ``domain_to``.

    References:
        .. [1] Theis, van den Oord, Bethge, "A note on the evaluation of generative models", 2016.

    Example:
        >>> import torch
        >>> from pvae.data.conversion import convert
        >>> convert(torch.tensor([0, 255], dtype=torch.uint8), "bytes", (0, 255), "binary")
        tensor([0., 1.])
    """
    check(domain_from, value_range, domain_to)
    if domain_to == "binary" and domain_from != "binary":
        high = int(value_range[1]) if domain_from == "bytes" else 1
        binary = _binarize(x, domain_from, high, binarization, generator)
        return binary if domain_from == "bytes" else binary.masked_fill(x.isnan(), torch.nan)
    if domain_to == "unit interval" and domain_from == "bytes":
        return x.float() / value_range[1]
    if domain_to in DEQUANTIZED and domain_from == "bytes":
        return _dequantize(x, int(value_range[1]), generator)
    x = x.float()
    if domain_to == "open unit interval":
        return x.clamp(TINY, 1 - EPS)
    return x.clamp_min(TINY) if domain_to == "positive reals" else x


def _binarize(
    x: Tensor,
    domain: Domain,
    high: int,
    binarization: Literal["dynamic", "threshold"],
    generator: torch.Generator | None,
) -> Tensor:
    if binarization == "threshold":
        ones = x > high / 2
    elif domain == "bytes" and x.device.type == "cpu":
        # NumPy uses only this thread: waking torch's thread pool costs more than it saves.
        levels = _levels_below(high, x, generator)
        return torch.from_numpy(np.less(levels.numpy(), x.numpy()).astype(np.float32))
    elif domain == "bytes":
        ones = _levels_below(high, x, generator) < x
    else:
        ones = torch.rand(x.shape, device=x.device, generator=generator) < x
    return ones.view(torch.uint8).float()  # four times faster than casting booleans on a CPU


def _levels_below(high: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw levels uniform on 0 to ``high - 1``, which are below level x with chance x / high.

    This is most of the cost of a dynamically binarized batch on a CPU, where torch draws 32 bits
    for each element of any dtype. Using these bits for four elements, and redrawing the few bytes
    that would bias the levels, takes a third of the time and is exact.
    """
    shape, device = like.shape, like.device
    if device.type != "cpu":
        return torch.randint(high, shape, dtype=torch.uint8, device=device, generator=generator)
    count = shape.numel()
    draws = torch.empty(-(-count // 8), dtype=torch.int64)
    words = draws.random_(-(2**63), None, generator=generator).numpy()
    levels = words.view(np.uint8)
    fair = 256 - 256 % high  # the largest multiple of high: bytes below it are uniform modulo high
    if fair < 256:
        # The few other bytes are found eight at a time, and redrawn.
        few = np.flatnonzero((levels >= fair).view(np.uint64) != 0)
        some = words[few].view(np.uint8)
        unfair = some >= fair
        redrawn = torch.randint(high, (int(unfair.sum()),), dtype=torch.uint8, generator=generator)
        some[unfair] = redrawn.numpy()
        words[few] = some.view(np.int64)
    if high < fair:
        levels %= high
    return torch.from_numpy(levels[:count]).view(shape)


def _dequantize(x: Tensor, high: int, generator: torch.Generator | None) -> Tensor:
    # u is drawn on the midpoints of 2^15 cells, the finest for which x + u is exact in float32:
    # a finer u would sometimes be rounded up to 1, into the next level or, at the top, to 1.
    cells = 2**15
    u = torch.randint(cells, x.shape, dtype=torch.float32, device=x.device, generator=generator)
    return u.add_(0.5).div_(cells).add_(x).div_(high + 1)
