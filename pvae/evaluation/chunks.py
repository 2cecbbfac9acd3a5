"""Data and draws, as many at a time as memory allows."""

import math
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from tqdm.std import tqdm

from pvae.networks.shapes import check_size
from pvae.progress import bar
from pvae.seeds import seeded
from pvae.vae import VAE

MEMORY = 256  # MiB
Result = TypeVar("Result", bound=NamedTuple)


def per_datum(
    estimate: Callable[[Tensor, Tensor | None], Result],
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    rows: int = 1,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> Result:
    r"""Estimate something of each datum, in chunks of the data, and put the results together.

    Dropout is off and there are no gradients. The draws are set by the seed, whatever the random
    state, which is left as it was. A bar shows on standard error once it takes seconds.

    Args:
        estimate: from a chunk of x and of y, on the device of the VAE, to a named tuple of tensors
            with one entry for each datum first.
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        rows: how many z an estimate holds at once for each datum.
        memory: about how much an estimate may hold, in MiB.
        seed: of the random draws.
        progress: whether to show the bar.

    Raises:
        ValueError: if x or y is not what the VAE takes, or the memory is not positive.
    """
    x, y = check_data(vae, x, y)
    at_once = max(1, rows_within(vae, memory) // rows)
    chunks = zip(x.split(at_once), repeat(None) if y is None else y.split(at_once))  # noqa: B905
    found = []
    with vae.evaluating(), seeded(seed, vae.device), counted(len(x), progress) as shown:
        for chunk, labels in chunks:
            chunk = chunk.to(vae.device, vae.dtype)
            found.append(estimate(chunk, labels))
            shown.update(len(chunk))
    return type(found[0])(*map(torch.cat, zip(*found, strict=True)))


def check_data(vae: VAE, x: Tensor, y: object = None) -> tuple[Tensor, Tensor | None]:
    r"""Return data and labels if the VAE has a density for them.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.

    Raises:
        ValueError: if x is no batch of at least one datum of the event shape, lies outside the
            likelihood's support, or the likelihood is no density; or y is missing, not a label, or
            of another length.
    """
    shape = ", ".join(["n", *map(str, vae.event_shape)])
    if not isinstance(x, Tensor) or x.shape[1:] != vae.event_shape or len(x) == 0:
        found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"type {type(x).__name__}"
        raise ValueError(
            f"x has {found}: expected a tensor of shape ({shape}) for this VAE, n ≥ 1."
        )
    if getattr(vae.likelihood, "relaxed", False):
        raise ValueError(
            f"{type(vae.likelihood).__name__}(relaxed=True) is a reconstruction loss and no "
            "density, so x has no likelihood: train with relaxed=False."
        )
    if vae.labels is not None:
        y = vae.labels.check(y)
        if len(y) != len(x):
            raise ValueError(f"y has {len(y)} labels for {len(x)} data: give one for each.")
    finite = x.isfinite().flatten(1).all(-1)
    inside = finite if not bool(finite.all()) else _inside(vae, x, y)
    if not bool(inside.all()):
        wrong = (~inside).nonzero()[0, 0].item()
        raise ValueError(
            f"x[{wrong}] has values outside the support of the likelihood "
            f"{type(vae.likelihood).__name__}, which is over {vae.likelihood.domain}: convert the "
            "data, as pvae.data.Batches does."
        )
    return x, y


def _inside(vae: VAE, x: Tensor, y: Tensor | None) -> Tensor:
    """Which of the data lie in the support of the likelihood."""
    found = []
    with vae.evaluating(), seeded(0, vae.device):
        for part in x.split(1024):
            part, label = part.to(vae.device, vae.dtype), None if y is None else y[: len(part)]
            z = vae.encode(part, label).sample()
            found.append(vae.decode(z, label, like=part).support.check(part))
    return torch.cat(found)


def rows_within(vae: VAE, memory: float) -> int:
    """How many z the decoder can take at once, at least 1.

    Args:
        vae: the VAE.
        memory: in MiB.

    Raises:
        ValueError: if the memory is not positive.
    """
    if not memory > 0:
        raise ValueError(f"memory is {memory}: give a positive number of MiB.")
    return max(1, int(memory * 2**20 / (numbers_per_row(vae) * vae.dtype.itemsize)))


def numbers_per_row(vae: VAE) -> int:
    """About how many numbers are held at a time to score a datum at one z."""
    held = 4 * math.prod(vae.event_shape)  # terms of a log-density

    def count(module: nn.Module, given: object, out: object) -> None:
        nonlocal held
        held += out.numel() if isinstance(out, Tensor) else 0

    leaves = [m for m in vae.likelihood.modules() if not any(m.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        with vae.evaluating():
            size = 0 if vae.labels is None else vae.labels.size
            extra = size if "likelihood" in vae.conditional else 0
            z = torch.zeros(vae.latent_shape[0] + extra, dtype=vae.dtype, device=vae.device)
            vae.likelihood(z.unsqueeze(0))
    finally:
        for hook in hooks:
            hook.remove()
    return held


def portions(num_samples: int, at_once: int) -> Iterator[int]:
    """Sizes that add up to the number of samples, none above what goes at once."""
    check_size("num_samples", num_samples)
    at_once = max(1, at_once)
    for done in range(0, num_samples, at_once):
        yield min(at_once, num_samples - done)


def counted(total: int, progress: bool = True, unit: str = "data") -> tqdm:
    """A progress bar, which shows once two seconds have gone by, and leaves nothing behind."""
    if not progress:
        return tqdm(disable=True)
    return bar(total=total, unit=f" {unit}", delay=2, leave=False)
