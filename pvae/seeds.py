"""Seeded random choices and draws that leave torch's random state unchanged."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pvae.checks import is_whole
from pvae.messages import shown


def choice(total: int, n: int, seed: int) -> Tensor:
    """Return a random choice of indices that depends on the seed alone.

    Args:
        total: how many indices to choose from.
        n: how many to choose, or all if there are fewer.
        seed: of the choice.

    Returns:
        Indices in random order, ``int64`` of shape ``(min(n, total),)``.

    Example:
        >>> from pvae.seeds import choice
        >>> sorted(choice(3, 5, seed=0).tolist())
        [0, 1, 2]
    """
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:n]


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seed torch on the CPU and a device while entered, and restore its random state on exit.

    Args:
        seed: the seed; ``None`` changes nothing.
        device: where the draws are made.

    Raises:
        ValueError: if the seed is not a whole number that torch accepts.
    """
    if seed is None:
        yield
        return
    if not is_whole(seed) or not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed is {shown(seed)}: give a whole number from -2^63 to 2^64 - 1.")
    # Generator by generator: torch.manual_seed would also reseed every other device.
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(int(seed))
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
