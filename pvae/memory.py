"""What fits into memory, asked before anything is allocated.

Linux grants memory that it does not have, and ends a process once it is used: a size that cannot be
held must be refused before.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

MOST_OPERATIONS = 100_000
"""Operators of torch that no model needs to be built, which takes a few seconds for as many."""


def available() -> int:
    """Bytes that can be allocated now, as far as the system says."""
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
    """Check that something can be held.

    Args:
        what: its name, for the error message.
        size: in bytes.

    Raises:
        ValueError: if it takes more memory than there is.

    Example:
        >>> from pvae import memory
        >>> memory.check("A picture", 28 * 28)
    """
    free = available()
    if size > free:
        raise ValueError(
            f"{what} would take {_amount(size)} of memory, and {_amount(free)} are free: choose "
            "smaller sizes."
        )


def check_model(make: Callable[[], nn.Module]) -> None:
    """Check that the weights of a model, and what it computes as it is made, can be held.

    The model is made without memory, on the device ``meta``. Parts that cannot be made there are
    not checked.

    Raises:
        ValueError: if it takes more memory than there is, or has no end of layers.
    """
    meter = _Meter()
    try:
        with torch.random.fork_rng([]), torch.device("meta"), meter:
            model = make()
    except _TooMany:
        raise ValueError(
            f"The model takes more than {MOST_OPERATIONS:,} operations to build: choose fewer "
            "layers or components."
        ) from None
    except Exception:  # it is then made in earnest, and says what is wrong with it
        model = nn.Module()
    held = [*model.parameters(), *model.buffers()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in held)
    check("The model", max(weights, meter.largest))


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
        if self.count > MOST_OPERATIONS:
            raise _TooMany
        out = function(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.largest = max(self.largest, out.numel() * out.element_size())
        return out


def _amount(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
