"""Moments of an optimizer that decay to numbers too small to be normal.

Processors compute with such numbers tens of times slower than with others. The first moment of a
weight that has no gradient any more, as that of a pixel which is rarely white, decays by a factor
of 0.9 with each step of Adam, and stays at the smallest of them for ever, since rounding takes it
back there.
"""

import torch

SMALLEST = 1e-35  # its root is far below what is added to the root of the second moment, eps
LEAST_EPS = 1e-10
EVERY = 64  # as many steps, in which 0.9 takes it to the smallest normal number, 1.2e-38
_MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


def clear_denormals(optimizer: torch.optim.Optimizer) -> int:
    """Set moments below 1e-35 to zero at every 64th step, on a CPU.

    When that is depends on the optimizer's own count of steps, so that a run which continues from
    a saved state has the same bits.

    Args:
        optimizer: Adam, or one with moments of the same names and an eps of at least 1e-10; others
            are left as they are.

    Returns:
        The number of steps after which to call this again.
    """
    counts = [state["step"] for state in optimizer.state.values() if "step" in state]
    if not counts or any(torch.is_tensor(count) and count.is_cuda for count in counts):
        return 1
    since = max(map(int, counts)) % EVERY
    if since:
        return EVERY - since
    with torch.no_grad():
        for group in optimizer.param_groups:
            eps = group.get("eps")
            if not isinstance(eps, float) or eps < LEAST_EPS:
                continue
            for parameter in group["params"]:
                state = optimizer.state.get(parameter, {})
                for name in _MOMENTS:
                    moment = state.get(name)
                    if moment is not None and moment.is_cpu and not moment.is_complex():
                        torch.hardshrink(moment, SMALLEST, out=moment)
    return EVERY
