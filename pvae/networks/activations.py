"""Activations by name, and dropout."""

from torch import nn

from pvae.checks import check_number

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation(name: str) -> nn.Module:
    """Return the activation of this name.

    Raises:
        ValueError: if there is no such activation.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"No activation is named {name!r}: choose {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]()


def dropout(probability: float) -> list[nn.Module]:
    """Return a list with the dropout layer, or an empty list if the probability is 0.

    Raises:
        ValueError: if the probability is not in [0, 1).
    """
    if not 0 <= check_number("dropout", probability) < 1:
        raise ValueError(f"dropout is {probability}: it must be at least 0 and below 1.")
    return [nn.Dropout(probability)] if probability else []
