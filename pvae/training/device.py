"""The device that a run trains on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose_device(device: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA if available.

    Raises:
        ValueError: if there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.ones(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        if reason.startswith("Expected one of"):
            reason = "devices are named cpu, cuda, cuda:1 or mps"
        raise ValueError(
            f"The device {device!r} is not available here ({reason}): use device='cpu' or 'auto'."
        ) from error
    return chosen


@contextmanager
def deterministic() -> Iterator[None]:
    """Let cuDNN use only deterministic algorithms while entered."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
