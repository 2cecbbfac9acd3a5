"""Series with a season: noisy observations of a damped rotation."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pvae.checks import check_number, check_size
from pvae.seeds import seeded

COUNT, STEPS, DIM, PERIOD, DAMPING, NOISE = 2000, 24, 3, 12.0, 0.9, 0.5


class Seasonal(NamedTuple):
    """Series, the states that they observe, and their exact distribution.

    Attributes:
        x: the series, shape (n, steps, dim).
        states: the state at each step, shape (n, steps, 2).
        covariance: of x as a vector, step by step, shape (steps dim, steps dim), in ``float64``;
            its mean is 0, and x is normal, so that the entropy of x is known.
    """

    x: Tensor
    states: Tensor
    covariance: Tensor


def seasonal(
    n: int = COUNT,
    steps: int = STEPS,
    dim: int = DIM,
    period: float = PERIOD,
    damping: float = DAMPING,
    noise: float = NOISE,
    seed: int = 0,
) -> Seasonal:
    r"""Draw series from a stochastic cycle (Harvey 1989, section 2.3), a linear state space.

    .. math::
        s_1 \sim N(0, I), \quad s_t \sim N(\rho R s_{t-1}, (1 - \rho^2) I), \quad
        x_{ti} \sim N(\cos(a_i) s_{t1} + \sin(a_i) s_{t2}, \nu^2)

    with R the rotation by one step of the period, so that amplitude and phase of the season drift,
    and the D series are ahead of each other by angles a_i, equally spaced on half a turn.

    ``pvae.data.load("seasonal")`` has these data.

    Args:
        n: the number of series.
        steps: the steps T of each.
        dim: the values D at each step.
        period: of the season, in steps.
        damping: rho, in [0, 1): how much of the state a step keeps.
        noise: nu, above 0.
        seed: of the draws; torch's random state is then restored.

    Raises:
        ValueError: if a size is below 1, the period or the noise not positive, or damping outside
            [0, 1).

    Example:
        >>> from pvae.data import seasonal
        >>> x, states, covariance = seasonal(n=10, steps=6)
        >>> x.shape, covariance.shape
        (torch.Size([10, 6, 3]), torch.Size([18, 18]))
    """
    for name, size in (("n", n), ("steps", steps), ("dim", dim)):
        check_size(name, size)
    for name, number in (("period", period), ("noise", noise)):
        if not 0 < check_number(name, number) < math.inf:
            raise ValueError(f"{name} is {number}: it must be a finite number above 0.")
    if not 0 <= check_number("damping", damping) < 1:
        raise ValueError(f"damping is {damping}: it must be at least 0 and below 1.")
    turn = torch.tensor(2 * math.pi / period, dtype=torch.float64)
    rotation = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()]).view(2, 2)
    angles = torch.arange(dim, dtype=torch.float64) * math.pi / dim
    seen = torch.stack([angles.cos(), angles.sin()], -1)
    # The covariance of states k steps apart is (rho R)^k.
    powers = [torch.linalg.matrix_power(damping * rotation, k) for k in range(steps)]
    rows = [
        torch.cat([powers[t - s] if t >= s else powers[s - t].T for s in range(steps)], 1)
        for t in range(steps)
    ]
    observe = torch.kron(torch.eye(steps, dtype=torch.float64), seen)
    covariance = observe @ torch.cat(rows) @ observe.T
    covariance += noise**2 * torch.eye(steps * dim, dtype=torch.float64)
    with seeded(seed, torch.device("cpu")):
        s = [torch.randn(n, 2)]
        for _ in range(steps - 1):
            kept = damping * s[-1] @ rotation.T.float()
            s.append(kept + math.sqrt(1 - damping**2) * torch.randn(n, 2))
        states = torch.stack(s, 1)
        x = states @ seen.T.float() + noise * torch.randn(n, steps, dim)
    return Seasonal(x, states, covariance)
