"""Checks that data and models fit into memory, before anything is allocated.

Linux grants more memory than it has, and kills a process that uses it, so sizes are checked first.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_MOST_OPERATIONS = 20_000  # of torch; building a model takes fewer
_LITTLE = 2**29
_SMALL = 10**7


class MemoryShort(ValueError):
    """Something does not fit into the memory that is free now."""


def available() -> int:
    """Bytes that can be allocated now, as reported by the system."""
    limits = [2**63]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path, find in (
        ("/proc/meminfo", lambda text: int(text.split("MemAvailable:")[1].split()[0]) * 1024),
        ("/sys/fs/cgroup/memory.max", int),  # of a container; "max" where there is no limit
    ):
        try:
            limits.append(find(Path(path).read_text()))
        except (OSError, ValueError, IndexError):
            continue
    return min(limits)


def check(what: str, size: int) -> None:
    """Raise if something does not fit into memory.

    Args:
        what: its name in the error message.
        size: in bytes.

    Raises:
        MemoryShort: if it takes more memory than there is.

    Example:
        >>> from pvae import memory
        >>> memory.check("A picture", 28 * 28)
    """
    free = available()
    if size > free:
        raise MemoryShort(
            f"{what} would take {_amount(size)} of memory, and {_amount(free)} are free: choose "
            "smaller sizes."
        )


def ran_out(error: BaseException) -> bool:
    """Whether an error of Python, or of torch on a CPU or GPU, says that memory ran out."""
    said = "can't allocate memory" in str(error) or "out of memory" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and said)


def is_small(arguments: object) -> bool:
    """Whether a model with these arguments fits into any memory, by the product of their sizes.

    No tensor has more elements than that, but for factors that are constants of the code.

    Args:
        arguments: names and numbers, in dictionaries and lists of any depth.

    Example:
        >>> from pvae import memory
        >>> memory.is_small({"event_shape": (1, 28, 28), "latent_dim": 20})
        True
        >>> memory.is_small({"network": {"hidden": [10**9]}})
        False
    """
    sizes = (abs(n) for n in pytree.tree_leaves(arguments) if isinstance(n, int | float))
    return math.prod(n for n in sizes if n > 1) <= _SMALL


def check_model(make: Callable[[], nn.Module]) -> dict[str, Tensor] | None:
    """Raise if the weights of a model, or the tensors computed in its constructor, do not fit.

    The model is made without memory, on the device ``meta``. For that torch imports its compiler,
    which takes seconds: what `is_small` need not be checked.

    Returns:
        Its state on that device, with names and shapes; ``None`` if a part cannot be made
        there, so that nothing was checked.

    Raises:
        MemoryShort: if it takes more memory than there is, or has too many layers.
    """
    meter = _Meter()
    try:
        with (
            _little_memory(),
            torch.random.fork_rng([]),
            pyro.validation_enabled(False),  # it needs values
            torch.device("meta"),
            meter,
        ):
            state = make().state_dict()
    except (_TooMany, MemoryError):
        raise MemoryShort(
            "The model has more layers or components than can be built: choose fewer."
        ) from None
    except Exception:  # building the real model raises the error
        state = None
    weights = sum(w.numel() * w.element_size() for w in (state or {}).values())
    check("The model", max(weights, meter.largest))
    return state


@contextmanager
def _little_memory() -> Iterator[None]:
    """Limit Python's allocations to what a model without weights may need."""
    if resource is None or not Path("/proc/self/statm").exists():
        yield
        return
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + _LITTLE
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class _TooMany(Exception):
    pass


class _Meter(TorchFunctionMode):
    """Counts operators, and keeps the size of the largest tensor that they return."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.count = 0

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        if self.count > _MOST_OPERATIONS:
            raise _TooMany
        if function is Tensor.__bool__:  # in checks, such as that supports agree
            return True
        if function is nn.functional.linear:
            out = _linear(*args, **(kwargs or {}))
        else:
            out = function(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.largest = max(self.largest, out.numel() * out.element_size())
        return out


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The result of a linear layer without memory.

    On meta, torch's own imports its compiler: seconds, of each command.
    """
    return input.new_empty(*input.shape[:-1], *weight.shape[:-1])


def _amount(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
