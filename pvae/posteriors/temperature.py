"""The temperature of a relaxation, fixed or annealed."""

import torch
from torch import Tensor, nn

from pvae.checks import check_number, check_size


class Temperature(nn.Module):
    r"""A temperature that may be annealed over the training passes.

    .. math::
        t_n = t_0\, (t_1 / t_0)^{\min(n / N, 1)}

    after n passes, from t_0 to t_1 in N of them. Every call in training mode is a pass.

    Args:
        temperature: t_0.
        final_temperature: t_1; ``None`` for no annealing.
        annealing_steps: N; ``None`` for no annealing.

    Attributes:
        passes: the training passes so far, a tensor that is changed in place and saved with the
            weights.

    Raises:
        ValueError: if a temperature is not positive and finite, or only one of the two last
            arguments is given.

    Example:
        >>> from pvae.posteriors.temperature import Temperature
        >>> temperature = Temperature(1.0, final_temperature=0.25, annealing_steps=2)
        >>> [round(float(temperature()), 3) for _ in range(4)]
        [1.0, 0.5, 0.25, 0.25]
    """

    first: Tensor
    passes: Tensor

    def __init__(
        self,
        temperature: float,
        final_temperature: float | None = None,
        annealing_steps: int | None = None,
    ) -> None:
        super().__init__()
        _check("temperature", temperature)
        if (final_temperature is None) != (annealing_steps is None):
            raise ValueError(
                f"final_temperature is {final_temperature} and annealing_steps {annealing_steps}: "
                "annealing needs both."
            )
        self.ratio = 1.0
        self.steps: int | None = None
        if final_temperature is not None and annealing_steps is not None:
            self.ratio = _check("final_temperature", final_temperature) / temperature
            self.steps = check_size("annealing_steps", annealing_steps)
        self.register_buffer("first", torch.tensor(float(temperature)), persistent=False)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    @property
    def value(self) -> Tensor:
        """The current temperature, a tensor of shape ()."""
        if self.steps is None:
            return self.first
        return self.first * self.ratio ** (self.passes / self.steps).clamp(max=1)

    def forward(self) -> Tensor | None:
        """Return the temperature and count the pass; in evaluation mode return ``None``."""
        if not self.training:
            return None
        value = self.value
        if self.steps is not None:
            self.passes.add_(1)
        return value


def _check(name: str, temperature: float) -> float:
    if not 0 < check_number(name, temperature) < float("inf"):
        raise ValueError(f"{name} is {temperature}: it must be a positive number.")
    return temperature
