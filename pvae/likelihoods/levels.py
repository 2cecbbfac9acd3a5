"""The number of levels of a likelihood of bytes."""

from pvae.checks import check_size


def check_levels(levels: int) -> int:
    """Return a number of levels that is a whole number of at least 2.

    Raises:
        ValueError: if it is not.
    """
    if check_size("levels", levels) < 2:
        raise ValueError(f"levels is {levels}: there must be at least 2, level 0 and another.")
    return int(levels)
