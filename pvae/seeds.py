"""Random draws that repeat, and that leave everybody else's draws as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seed torch on the CPU and a device while entered, and put its random state back after.

    Args:
        seed: the seed; ``None`` changes nothing.
        device: where the draws are made.
    """
    if seed is None:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
