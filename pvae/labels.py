"""Labels as context: y as a vector that a network can be given."""

import torch
from torch import Tensor, nn

from pvae.networks.shapes import check_size


class Labels(nn.Module):
    r"""What the labels y are, and how they become a vector.

    Classes become one-hot vectors. Continuous labels are standardized by the mean and the standard
    deviation of the labels trained on.

    Args:
        classes: number of classes, for labels 0 to ``classes - 1``.
        dim: how many numbers a continuous label holds.

    Attributes:
        size: length of the vector.

    Shape:
        y of (\*batch,) for classes, (\*batch, dim) for continuous labels, to (\*batch, size).

    Raises:
        ValueError: unless exactly one of the two is given, and at least 1.

    Example:
        >>> import torch
        >>> from pvae import Labels
        >>> Labels(classes=3)(torch.tensor([2, 0]))
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """

    def __init__(self, classes: int | None = None, dim: int | None = None) -> None:
        super().__init__()
        if (classes is None) == (dim is None):
            raise ValueError("Labels are classes or continuous: give either classes or dim.")
        self.classes = classes
        self.size = check_size("dim", dim) if classes is None else check_size("classes", classes)
        self.register_buffer("loc", torch.zeros(self.size))
        self.register_buffer("scale", torch.ones(self.size))

    def initialize(self, y: Tensor) -> None:
        """Take mean and scale of continuous labels, shape (n, dim)."""
        if self.classes is None:
            self.loc.copy_(y.mean(0))
            deviation = y.std(0, correction=0)
            self.scale.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def forward(self, y: Tensor) -> Tensor:
        """Return y as a vector."""
        if self.classes is None:
            return (y.to(self.loc) - self.loc) / self.scale
        return (y.unsqueeze(-1) == torch.arange(self.size, device=y.device)).to(self.loc)

    def check(self, y: object) -> Tensor:
        """Return y as a tensor, once it has been looked at.

        Args:
            y: labels, or one label.

        Raises:
            ValueError: if they are missing, out of range, not whole, or of another shape.
        """
        wanted = (
            f"whole numbers from 0 to {self.size - 1}"
            if self.classes
            else f"vectors of {self.size} number(s)"
        )
        if y is None:
            raise ValueError(f"This VAE is conditional: give its labels y, {wanted}.")
        try:
            y = torch.as_tensor(y, device=self.loc.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"The labels y must be {wanted}; these are not: {y!r}.") from error
        if self.classes is None:
            if y.dim() == 0 and self.size == 1:
                y = y.unsqueeze(0)
            good = y.shape[-1:] == (self.size,) and bool(torch.isfinite(y).all())
        else:
            good = bool(((y >= 0) & (y < self.size) & (y == y.round())).all())
        if not good:
            raise ValueError(f"The labels y must be {wanted}; these are not: {_shortly(y)}.")
        return y if self.classes is None else y.long()


def join(context: Tensor, labels: Tensor, event_dim: int) -> Tensor:
    r"""Append labels to a context: to a vector as more elements, to an image as more channels.

    Args:
        context: shape (\*batch, \*event), whose first event dimension is appended to.
        labels: shape (\*batch, size), whose batch is broadcast to that of the context.
        event_dim: dimensions of the event.
    """
    batch, (_, *rest) = context.shape[: -event_dim or None], context.shape[-event_dim:]
    labels = labels[(..., *(None,) * len(rest))].expand(*batch, labels.shape[-1], *rest)
    return torch.cat([context, labels], dim=-event_dim)


def _shortly(y: Tensor) -> str:
    few = ", ".join(f"{value:g}" for value in y.flatten()[:5].tolist())
    return f"shape {tuple(y.shape)}, {few}{', ...' if y.numel() > 5 else ''}"
