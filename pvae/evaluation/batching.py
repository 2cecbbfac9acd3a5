"""Estimates in chunks of data and draws that fit into memory."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

import pyro
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from tqdm.std import tqdm

from pvae.checks import check_flag, check_size, is_real
from pvae.distributions.padded import padding
from pvae.inputs import as_data
from pvae.interfaces import option
from pvae.messages import kind_of, shown
from pvae.progress_bar import bar
from pvae.seeds import seeded
from pvae.vae import VAE

MEMORY = 256  # MiB
Result = TypeVar("Result", bound=NamedTuple)


def per_datum(
    estimate: Callable[..., Result],
    vae: VAE,
    x: Tensor,
    y: object = None,
    *others: Tensor,
    rows: int = 1,
    memory: float = MEMORY,
    at_once: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Result:
    r"""Compute an estimate for each datum, in chunks of the data, and concatenate the results.

    Dropout and gradients are off. Draws depend only on the seed, and torch's random state is
    restored. After a few seconds a progress bar is shown on standard error.

    Args:
        estimate: maps a chunk of x, of y and of the others, on the device of the VAE, to a named
            tuple of tensors whose first dimension is the data.
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        *others: more tensors whose first dimension is the data.
        rows: the number of z that an estimate holds at once for each datum.
        memory: approximate limit of the memory of an estimate, in MiB.
        at_once: the number of data in a chunk; as many as fit into memory if ``None``.
        seconds: time after which no further chunk starts, so that the result is of the first data;
            ``None`` for all of them.
        seed: of the random draws.
        progress: whether to show the bar.

    Raises:
        ValueError: if x or y is invalid for the VAE, the memory is not positive, or the seed not a
            whole number.
    """
    began = time.monotonic()
    if seconds is not None:
        check_seconds(seconds)
    most = rows_within(vae, memory)
    x, y = check_batch(vae, x, y, most)
    chunks = split(at_once or max(1, most // rows), x, y, *others)
    # Results are written to one preallocated tensor: allocated one by one between the temporary
    # tensors of chunks, they would fragment memory.
    kind: Any = tuple
    fields: list[Tensor] = []
    done = 0
    with vae.evaluating(), seeded(seed, vae.device), counted(len(x), progress) as shown:
        for chunk, label, *rest in chunks:
            chunk = chunk.to(vae.device, vae.dtype)
            result = estimate(chunk, label, *(part.to(vae.device) for part in rest))
            if not fields:
                kind = type(result)
                fields = [part.new_empty(len(x), *part.shape[1:]) for part in result]
            for field, part in zip(fields, result, strict=True):
                field[done : done + len(chunk)] = part
            done += len(chunk)
            if seconds is not None and (time.monotonic() - began > seconds or is_stopped()):
                break
            shown.update(len(chunk))
    return kind(*(field[:done] for field in fields))


def split(at_once: int, x: Tensor, y: Tensor | None, *others: Tensor) -> Iterator[tuple]:
    """Split data, their labels (or ``None``), and other tensors into chunks."""
    labels = repeat(None) if y is None else y.split(at_once)
    return zip(x.split(at_once), labels, *(o.split(at_once) for o in others), strict=False)


def check_batch(
    vae: VAE, x: Tensor, y: object = None, at_once: int | None = None
) -> tuple[Tensor, Tensor | None]:
    r"""Check that the VAE has a density for data and labels, and return them as tensors.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels; ignored if the VAE has none.
        at_once: the number of data in a chunk; as many as fit into `MEMORY` if ``None``.

    Raises:
        TypeError: if vae is not a VAE, or x not a tensor or array of numbers.
        ValueError: if x is not a batch of at least one datum of the event shape, lies outside the
            likelihood's domain or support, or the likelihood is not a density; or y is missing, not
            a label, or of another length.
    """
    x = as_batch(vae, x)
    check_density(vae)
    y = check_labels(vae, x, y)
    valid = x.isfinite()
    if option(vae.likelihood, "padded"):
        valid = valid | padding(x, len(vae.event_shape))
    finite = valid.flatten(1).all(-1)
    inside = finite if not bool(finite.all()) else _inside(vae, x, y, at_once)
    if not bool(inside.all()):
        wrong = (~inside).nonzero()[0, 0].item()
        over = option(vae.likelihood, "domain") or "other values"
        raise ValueError(
            f"x[{wrong}] has values outside the support of the likelihood "
            f"{type(vae.likelihood).__name__}, which is over {over}: take a batch in its domain by "
            "data.batch(vae, 'test'), or convert the data."
        )
    return x, y


def check_density(vae: VAE) -> None:
    """Raise if the likelihood is not a density.

    Raises:
        ValueError: if it is not.
    """
    check_vae(vae)
    if option(vae.likelihood, "relaxed"):
        raise ValueError(
            f"{type(vae.likelihood).__name__}(relaxed=True) is a reconstruction loss and no "
            "density, so data have no likelihood under it: train with relaxed=False."
        )


def check_vae(vae: object, name: str = "vae") -> None:
    """Raise if this is not a VAE.

    Raises:
        TypeError: if it is not.
    """
    if not isinstance(vae, VAE):
        raise TypeError(
            f"{name} is {kind_of(vae)}: expected a VAE, as pvae.build(...) or pvae.load(run) "
            "returns."
        )


def as_batch(vae: VAE, x: object, values: bool = True) -> Tensor:
    """Return a batch of at least one datum as a tensor, on its own device.

    Args:
        vae: the VAE.
        x: the data.
        values: whether their values must lie in the likelihood's domain.

    Raises:
        TypeError: if vae is not a VAE, or x not a tensor or array of numbers.
        ValueError: if x is not such a batch.
    """
    check_vae(vae)
    x = as_data(vae, x, move=False, values=values)
    if x.dim() != 1 + len(vae.event_shape) or not len(x):
        shape = ", ".join(["n", *map(str, vae.event_shape)])
        raise ValueError(
            f"x has shape {tuple(x.shape)}: expected a batch of shape ({shape}) for this VAE, n at "
            "least 1."
        )
    return x


def check_labels(vae: VAE, x: Tensor, y: object) -> Tensor | None:
    """Return a label for each datum, or ``None`` if the VAE has none, or sums out unknown ones.

    Raises:
        ValueError: if labels are missing, invalid, or of another shape.
    """
    if vae.labels is None or (y is None and vae.classifier is not None):
        return None
    checked: Tensor = vae.labels.check(y)
    wanted = (len(x),) if vae.labels.classes is not None else (len(x), vae.labels.size)
    if checked.shape != wanted:
        raise ValueError(
            f"y has shape {tuple(checked.shape)} for {len(x)} data: give one label for each, shape "
            f"{wanted}."
        )
    return checked


def _inside(vae: VAE, x: Tensor, y: Tensor | None, at_once: int | None) -> Tensor:
    """Which of the data lie in the support of the likelihood."""
    found = []
    with vae.evaluating(), seeded(0, vae.device):
        for part, label in split(at_once or rows_within(vae, MEMORY), x, y):
            part = part.to(vae.device, vae.dtype)
            z = vae.q_z(part, label).sample()
            support: Any = vae.decode(z, label, like=part).support
            found.append(support.check(part))
    return torch.cat(found)


def check_seconds(seconds: object) -> None:
    """Raise if this is not a positive number of seconds.

    Raises:
        ValueError: if it is not.
    """
    if not is_real(seconds) or not seconds > 0:
        raise ValueError(f"seconds is {shown(seconds)}: give a positive number of seconds.")


def check_memory(memory: object) -> None:
    """Raise if the memory is not a positive number of MiB.

    Raises:
        ValueError: if it is not.
    """
    if not is_real(memory) or not 0 < memory < math.inf:
        raise ValueError(f"memory is {shown(memory)}: give a positive number of MiB.")


def rows_within(vae: VAE, memory: float, floats: int | None = None) -> int:
    """The number of z that the decoder can take at once, at least 1.

    Args:
        vae: the VAE.
        memory: the limit in MiB.
        floats: the result of `floats_per_row`, if it is known.

    Raises:
        ValueError: if the memory is not positive.
    """
    check_vae(vae)
    check_memory(memory)
    return max(1, int(memory * 2**20 / ((floats or floats_per_row(vae)) * vae.dtype.itemsize)))


def floats_per_row(vae: VAE) -> int:
    """The number of floats that operators compute to score a datum at one more z.

    Raises:
        ValueError: if parameters of the VAE are not finite.
    """
    for name, parameter in vae.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise ValueError(
                f"The VAE's parameter {name} is not finite, as after a training that diverged: "
                "train it again, for example with a smaller learning rate or clipped gradients."
            )
    # Counted for any output of the decoder, valid or not.
    with vae.evaluating(), seeded(0, vae.device), pyro.validation_enabled(False):
        y = None
        if vae.labels is not None and vae.classifier is None:
            wanted = () if vae.labels.classes is not None else (vae.labels.size,)
            y = torch.zeros(1, *wanted, dtype=vae.dtype, device=vae.device)
            y = vae.labels.check(y)
        x = vae.sample(1, None if y is None else y[0], draw=True)
        q = vae.q_z(x, y)

        def count(draws: int) -> int:
            with _Counter() as counter:
                z = q.sample((draws,))
                q.log_prob(z), vae.p_z(y).log_prob(z), vae.decode(z, y, like=x).log_prob(x)
            return counter.floats

        return max(1, count(3) - count(2))  # without computations that do not depend on z


class _Counter(TorchDispatchMode):
    """Counts the floats that operators return."""

    def __init__(self) -> None:
        super().__init__()
        self.floats = 0

    def __torch_dispatch__(
        self, function: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        result = function(*args, **(kwargs or {}))
        leaves = pytree.tree_leaves(result)
        self.floats += sum(leaf.numel() for leaf in leaves if isinstance(leaf, Tensor))
        return result


def portions(num_samples: int, at_once: int) -> Iterator[int]:
    """Split a number of samples into portions of at most ``at_once``."""
    check_size("num_samples", num_samples)
    at_once = max(1, at_once)
    for done in range(0, num_samples, at_once):
        yield min(at_once, num_samples - done)


class OutOfTime(Exception):
    """Raised when the time limit of `stop_after` is over."""


_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
_stopped: ContextVar[Callable[[], bool] | None] = ContextVar("stopped", default=None)


@contextmanager
def stop_when(asked: Callable[[], bool]) -> Iterator[None]:
    """End work that has a time limit as if its time were over, as soon as this is asked for."""
    token = _stopped.set(asked)
    try:
        yield
    finally:
        _stopped.reset(token)


def is_stopped() -> bool:
    """Whether `stop_when` ends the work."""
    asked = _stopped.get()
    return asked is not None and asked()


@contextmanager
def stop_after(seconds: float) -> Iterator[None]:
    """Stop work that is counted by `counted` after a time limit.

    Raises:
        OutOfTime: when it is over.
    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class Count:
    """A count of work done, shown as a progress bar."""

    def __init__(self, shown: tqdm) -> None:
        self.shown = shown

    def update(self, n: int = 1) -> None:
        """Count n more.

        Raises:
            OutOfTime: if the time of `stop_after` is over, or `stop_when` ends it.
        """
        self.shown.update(n)
        ends = _deadline.get()
        if time.monotonic() > ends or (ends < math.inf and is_stopped()):
            raise OutOfTime


@contextmanager
def counted(total: int, progress: bool = True, unit: str = "data") -> Iterator[Count]:
    """A progress bar that appears after two seconds, and is removed at the end."""
    check_flag("progress", progress)
    options: dict[str, Any] = {"total": total, "unit": f" {unit}", "delay": 2, "leave": False}
    with bar(**options) if progress else tqdm(disable=True) as shown:
        yield Count(shown)
