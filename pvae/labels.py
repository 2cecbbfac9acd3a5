"""Conversion of labels y to vectors that a network can take."""

from collections.abc import Sequence

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import check_size
from pvae.distributions.padded import padding
from pvae.networks.shapes import channel_dim


class Labels(nn.Module):
    r"""The kind of labels y, and their conversion to vectors.

    Classes become one-hot vectors. Continuous labels are standardized by the mean and the standard
    deviation of the labels trained on.

    Args:
        classes: number of classes, for labels 0 to ``classes - 1``.
        dim: the number of values in a continuous label.
        learned: whether the probabilities p(y) of classes are learned, which are equal otherwise.
            Only a VAE whose labels may be unknown uses p(y).

    Attributes:
        size: length of the vector.
        names: the names of the classes, if they have any: labels may then be given by name.

    Shape:
        y of (\*batch,) for classes, (\*batch, dim) for continuous labels, to (\*batch, size).

    Raises:
        ValueError: unless exactly one of classes and dim is given, and at least 1; or if p(y) of
            continuous labels should be learned.

    Example:
        >>> import torch
        >>> from pvae import Labels
        >>> Labels(classes=3)(torch.tensor([2, 0]))
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """

    loc: Tensor
    scale: Tensor

    names: tuple[str, ...] | None = None

    def __init__(
        self, classes: int | None = None, dim: int | None = None, learned: bool = False
    ) -> None:
        super().__init__()
        if (classes is None) == (dim is None):
            raise ValueError("Labels are classes or continuous: give either classes or dim.")
        self.classes = classes
        self.size = check_size("dim", dim) if classes is None else check_size("classes", classes)
        self.register_buffer("loc", torch.zeros(self.size))
        self.register_buffer("scale", torch.ones(self.size))
        if learned and classes is None:
            raise ValueError("Continuous labels have no probabilities to learn: give classes.")
        # A parameter of its own only where it is learned, so that other VAEs have none.
        self.logits = nn.Parameter(torch.zeros(self.size)) if learned else None

    def prior(self) -> dist.TorchDistribution:
        """Return p(y) over the classes."""
        return dist.Categorical(logits=self.loc if self.logits is None else self.logits)

    def every(self) -> Tensor:
        """Return all classes as vectors, shape (classes, size)."""
        return torch.eye(self.size).to(self.loc)

    def initialize(self, y: Tensor) -> None:
        """Set mean and scale from continuous labels, shape (n, dim)."""
        if self.classes is None:
            self.loc.copy_(y.mean(0))
            deviation = y.std(0, correction=0)
            self.scale.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def name(self, names: Sequence[str] | None) -> None:
        """Set the names of the classes, beginning with that of label 0.

        There may be fewer names than classes, not more.
        """
        if self.classes is not None and names and len(names) <= self.classes:
            self.names = tuple(map(str, names))

    def forward(self, y: Tensor) -> Tensor:
        """Return y as a vector."""
        if self.classes is None:
            return (y.to(self.loc) - self.loc) / self.scale
        return (y.unsqueeze(-1) == torch.arange(self.size, device=y.device)).to(self.loc)

    def check(self, y: object) -> Tensor:
        """Check labels and return them as a tensor.

        Args:
            y: labels, or one label: numbers, or names of classes.

        Raises:
            ValueError: if they are missing, out of range, not whole, unknown or of another shape.
        """
        wanted = f"vectors of {self.size} number(s)"
        if self.classes is not None:
            wanted = f"whole numbers from 0 to {self.size - 1}"
            if self.names and self.names != tuple(map(str, range(len(self.names)))):
                wanted += f", or names: {_few(self.names)}"
        if y is None:
            raise ValueError(f"This VAE is conditional: give its labels y, {wanted}.")
        y = self._numbered(y)
        try:
            y = torch.as_tensor(y, device=self.loc.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"The labels y must be {wanted}; these are not: {repr(y)[:40]}."
            ) from error
        if self.classes is None:
            if y.dim() == 0 and self.size == 1:
                y = y.unsqueeze(0)
            good = y.shape[-1:] == (self.size,) and bool(torch.isfinite(y).all())
        else:
            good = not y.is_complex()
            if good:
                wrong = (y < 0) | (y >= self.size) | (y != y.round())  # NaN is the last
                good = not bool(wrong.any())
                y = y if good else y[wrong]
        if not good:
            raise ValueError(f"The labels y must be {wanted}; these are not: {_shortly(y)}.")
        return y if self.classes is None else y.long()

    def context(self, y: object, batch: torch.Size | None = None) -> Tensor:
        """Check labels and return them as vectors.

        Args:
            y: labels, or one label, as `check` takes them.
            batch: the batch shape of the data, to which theirs must broadcast.

        Raises:
            ValueError: if `check` raises, or they do not fit the batch.
        """
        c = self(self.check(y))
        if batch is not None and not _broadcasts(c.shape[:-1], batch):
            raise ValueError(
                f"y has labels of shape {tuple(c.shape[:-1])} for a batch of shape "
                f"{tuple(batch)}: give one label, or one for each."
            )
        return c

    def each(self, y: object, n: int) -> Tensor:
        r"""Expand one label to n, or check that there are n.

        Raises:
            ValueError: if `check` raises, or there are neither 1 nor n.
        """
        y = self.check(y)
        event = y.shape[-1:] if self.classes is None else torch.Size()
        batch = tuple(y.shape[: y.dim() - len(event)])
        if batch not in ((), (1,), (n,)):
            raise ValueError(f"y has labels of shape {batch}: give one, or one for each of {n}.")
        return y.expand(n, *event)

    def _numbered(self, y: object) -> object:
        """Replace names of classes by their numbers; return anything else unchanged."""
        names = y if isinstance(y, str | list | tuple | np.ndarray) else ()
        try:
            given = np.asarray(names)
        except ValueError:  # nested lists of unequal lengths, which are not names
            return y
        if given.dtype.kind not in "UO" or given.size == 0:
            return y
        numbers = {name: i for i, name in enumerate(self.names or ())}
        unknown = [str(name) for name in given.flat if name not in numbers]
        if unknown:
            known = (
                f"the names are {_few(tuple(numbers))}" if numbers else "its classes have no names"
            )
            raise ValueError(f"There is no class {unknown[0]!r}: {known}.")
        return np.array([numbers[name] for name in given.flat]).reshape(given.shape)


def join(context: Tensor, labels: Tensor, event_dim: int) -> Tensor:
    r"""Append labels to a context: to a vector as more elements, to anything else as more channels.

    Steps of a sequence that are padded with NaN stay so.

    Args:
        context: shape (\*batch, \*event), whose channels are appended to, see `channel_dim`.
        labels: shape (\*batch, size); both batches are broadcast.
        event_dim: dimensions of the event.
    """
    event = context.shape[-event_dim:]
    batch = torch.broadcast_shapes(context.shape[:-event_dim], labels.shape[:-1])
    dim = channel_dim(event)
    labels = labels[(..., *(None,) * (event_dim - 1))].movedim(-event_dim, dim - event_dim)
    labels = labels.expand(*batch, *event[:dim], labels.shape[dim - event_dim], *event[dim + 1 :])
    if event_dim == 2:
        labels = labels.masked_fill(padding(context, 2), torch.nan)
    return torch.cat([context.expand(*batch, *event), labels], dim=dim - event_dim)


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    """Whether a shape can be expanded to another."""
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(a in (1, b) for a, b in pairs)


def _few(names: Sequence[str]) -> str:
    """The first few names of classes."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _shortly(y: Tensor) -> str:
    few = ", ".join(f"{value:g}" for value in y.flatten()[:5].tolist())
    return f"shape {tuple(y.shape)}, {few}{', ...' if y.numel() > 5 else ''}"
