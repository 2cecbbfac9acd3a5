"""How long the threads of OpenMP stay awake while they wait for each other.

libgomp, which torch brings on Linux, reads this from the environment when it is loaded.
"""

import os

# Turns of its loop before a thread sleeps, tens of microseconds, which bridge the time between two
# operators. By default they are 300,000, many milliseconds. Where other work shares the cores, the
# thread that is waited for has none, and those that wait keep it from getting one.
_TURNS = "1000"


def environment() -> dict[str, str]:
    """The variables to set before torch is imported; none if the user has set how threads wait.

    Example:
        >>> from pvae import openmp
        >>> openmp.environment().keys() <= {"GOMP_SPINCOUNT"}
        True
    """
    if os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        return {}
    return {"GOMP_SPINCOUNT": _TURNS}
