"""Which steps of a run leave a snapshot of the weights, for pictures over training time."""

MOST_BYTES = 2**27  # of all snapshots of a run together, 128 MiB
_POWERS = 40  # of √2: up to 2^20 steps, about a million


def snapshot_steps(size: int) -> frozenset[int]:
    r"""The gradient steps after which weights of a size are kept.

    They are 0 and the powers of √2, rounded: 0, 1, 2, 3, 4, 6, 8, 11, 16, ..., which is 28 of
    14,000 steps, 18 of them within 461, an epoch of MNIST. All snapshots of a run take at most
    128 MiB. Of weights above 3.1 MiB only every k-th power is kept, with the smallest k that keeps
    this bound over a million steps; of weights above 64 MiB only step 0, above 128 MiB none.

    The steps depend on nothing but the size, so that a run that was stopped, and resumed with more
    epochs, has the same snapshots as one that was planned with all of them.

    Args:
        size: bytes of the weights.

    Example:
        >>> from pvae.training.snapshots import snapshot_steps
        >>> sorted(snapshot_steps(2**20))[:10]
        [0, 1, 2, 3, 4, 6, 8, 11, 16, 23]
        >>> sorted(snapshot_steps(2**24))[:4]
        [0, 8, 64, 512]
    """
    most = MOST_BYTES // max(1, size)
    if most < 2:
        return frozenset({0} if most else ())
    every = -(-_POWERS // (most - 1))
    return frozenset({0, *(round(2 ** (i / 2)) for i in range(every, _POWERS + 1, every))})
