"""Minibatches of a part, converted to the domain of a likelihood."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils import data as torch_data

from pvae.checks import is_whole
from pvae.data.conversion import convert
from pvae.data.domains import Domain, check, domain_of
from pvae.data.image_files import ImageFiles
from pvae.data.part import Part, Source
from pvae.data.workers import ignore_interrupts, in_advance, worker_count
from pvae.interfaces import Model
from pvae.seeds import choice

_SEED = 0  # of static draws, which are the same each time
_TOGETHER = 2**19  # most numbers of the batches that are converted together; they fit the caches
_FEW = 3  # portions, for which no thread is worth it
AT_ONCE = 500  # items per batch outside of training
_CHUNK = 1024  # items per static draw, which needs them as floats


class Batches:
    """Minibatches of one part of a data set, in the domain of a likelihood.

    Items in memory are moved to the device once, as stored, and converted there. Image files are
    decoded ahead of time by a few worker processes.

    Dynamic binarization and dequantization draw anew in each pass, from a generator that only the
    seed of the pass determines. Static binarization draws each item once, from a generator of its
    own, so that it depends on neither the device, the batch size nor any seed.

    Args:
        dataset: the data set, which has the domain of the values and the kind of binarization.
        part: one of its parts.
        domain: the domain of the likelihood.
        batch_size: number of items in every batch except the last, which has the rest.
        device: the device of the batches.
        dtype: their floating-point type.
        labels: whether batches include labels.

    Attributes:
        dataset: the data set.
        part: its part.
        labels: labels of the part, on the device, or ``None``.

    Raises:
        ValueError: if the part is empty, the batch size is invalid, or the data cannot become
            values of ``domain``.

    Example:
        >>> import pvae.data
        >>> dataset = pvae.data.load("digits")
        >>> batches = pvae.data.Batches(dataset, dataset.train, "binary", batch_size=128)
        >>> len(batches), [len(x) for x in batches.epoch()][-1]
        (12, 29)
    """

    def __init__(
        self,
        dataset: Source,
        part: Part,
        domain: Domain,
        batch_size: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        labels: bool = False,
    ) -> None:
        if not isinstance(dataset, Source) or not isinstance(part, Part):
            raise TypeError(
                f"dataset and part are of type {type(dataset).__name__} and {type(part).__name__}: "
                "give a Dataset, as pvae.data.load returns, and one of its parts, as data.train."
            )
        if len(part) == 0:
            raise ValueError(f"The part of {dataset.name} is empty; give one with items.")
        if not is_whole(batch_size) or not 1 <= batch_size <= len(part):
            raise ValueError(
                f"batch_size={batch_size!r} is not possible; expected 1 to {len(part):,}, the "
                f"number of items."
            )
        if labels and part.y is None:
            raise ValueError(
                f"The data {dataset.name} have no labels: load them with labels=, or train a VAE "
                "that is not conditional."
            )
        check(dataset.domain, dataset.value_range, domain)
        self.labels = part.y.to(device) if labels and part.y is not None else None
        self.dataset = dataset
        self.part = part
        self.batch_size = batch_size
        self.dtype = dtype
        self.device = torch.device(device)
        domain_from, value_range = dataset.domain, dataset.value_range
        items: Tensor | ImageFiles | _DrawnOnce = part.x
        if dataset.binarization == "static" and domain == "binary" and domain_from != "binary":
            draw = partial(
                convert, domain_from=domain_from, value_range=value_range, domain_to="binary"
            )
            items = _draw_once(part.x, draw)
            domain_from, value_range = "binary", (0.0, 1.0)
        self._items = items.to(self.device) if isinstance(items, Tensor) else items
        self._convert = partial(
            convert,
            domain_from=domain_from,
            value_range=value_range,
            domain_to=domain,
            binarization="threshold" if dataset.binarization == "threshold" else "dynamic",
        )

    def __len__(self) -> int:
        return -(-len(self._items) // self.batch_size)

    @property
    def _ahead(self) -> int:
        """How many batches are converted together, which saves the overhead of small operations."""
        numbers = self.batch_size * math.prod(self.part.event_shape)
        return max(1, _TOGETHER // numbers) if self.in_memory else 1

    def at_least(self, n: int) -> Batches:
        """Return minibatches of the same items, of n or more each if there are so many.

        For means over items: a few large minibatches take less time than many small ones.
        """
        larger = copy.copy(self)
        larger.batch_size = max(self.batch_size, min(n, len(self._items)))
        return larger

    def epoch(
        self,
        order: Tensor | None = None,
        start: int = 0,
        seed: int | None = None,
        ahead: bool = False,
    ) -> Iterator[Tensor]:
        """Yield the batches of one pass.

        Args:
            order: indices of the items in the order of the pass, ``int64`` of shape ``(n,)``; by
                default the order of the part.
            start: number of batches to skip, to resume an interrupted pass; the batches that
                follow are the same.
            seed: of dynamic binarization and dequantization; by default drawn from torch's global
                generator.
            ahead: whether a thread draws and converts the next batches while these are in use, if
                the items are in memory and many; the batches are the same.

        Yields:
            Values of shape ``(batch_size, *event_shape)`` on the device.
        """
        if order is None:
            order = torch.arange(len(self._items))
        if seed is None:
            seed = int(torch.randint(2**62, ()))
        first, skipped = divmod(start, self._ahead)
        order = order[first * self._ahead * self.batch_size :]
        portions = self._portions(order, first, seed)
        many = len(order) > _FEW * self._ahead * self.batch_size
        if ahead and many and self.in_memory and self.device.type == "cpu":
            portions = in_advance(portions)
        for x in portions:
            yield from x.split(self.batch_size)[skipped:]
            skipped = 0

    def _portions(self, order: Tensor, first: int, seed: int) -> Iterator[Tensor]:
        """Yield what is converted together, whose random draws depend on its number in the pass."""
        generator = torch.Generator(self.device)
        for number, items in enumerate(self._draw(order), first):
            x = self._convert(items, generator=generator.manual_seed(seed + number))
            yield x.to(self.dtype)

    def arguments(
        self,
        order: Tensor | None = None,
        start: int = 0,
        seed: int | None = None,
        ahead: bool = False,
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield the arguments of model and guide: the batches of `epoch`, and their labels.

        Takes the arguments of `epoch`.

        Yields:
            ``(x,)``, or ``(x, y)`` with labels.
        """
        batches = self.epoch(order, start, seed, ahead)
        if self.labels is None:
            return ((x,) for x in batches)
        labels = self.labels if order is None else self.labels[order.to(self.device)]
        return zip(batches, labels.split(self.batch_size)[start:], strict=True)

    def rows(self, order: Tensor, start: int = 0) -> Iterator[Tensor]:
        """Yield the indices of the batches of one pass, for `draw`; arguments as for `epoch`."""
        yield from order.to(self.device).split(self.batch_size)[start:]

    @property
    def in_memory(self) -> bool:
        """Whether the items are a tensor on the device, which `draw` needs."""
        return isinstance(self._items, Tensor)

    def draw(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return items in memory, with their labels, by torch operators only.

        Args:
            rows: their indices, ``int64`` of shape ``(n,)``, on the device.

        Returns:
            ``(x,)`` or ``(x, y)``; random draws use torch's global generator of the device.
        """
        if not isinstance(self._items, Tensor):
            raise TypeError("These items are decoded as they are drawn: draw them by arguments().")
        x = self._convert(self._items.index_select(0, rows)).to(self.dtype)
        return (x,) if self.labels is None else (x, self.labels.index_select(0, rows))

    def head(self, n: int) -> Tensor:
        """Return the first items of the part, or all if there are fewer; the same at each call.

        Args:
            n: number of items, at least 1.

        Returns:
            Values of shape ``(n, *event_shape)`` on the device.
        """
        return self._take(range(min(n, len(self._items))))

    def first(self, n: int) -> tuple[Tensor, ...]:
        """Return the first items and their labels, in the form that `arguments` yields."""
        return (self.head(n),) if self.labels is None else (self.head(n), self.labels[:n])

    def some(self, n: int, seed: int) -> Tensor:
        """Return a seeded random choice of the items, or all if there are fewer."""
        return self._take(choice(len(self._items), n, seed).tolist())

    def choose(self, n: int | None, seed: int) -> tuple[Tensor, ...]:
        """Return a seeded random choice of the items and their labels.

        Args:
            n: how many, or all if there are fewer; ``None`` for all in their order.
            seed: of the choice, and of dynamic binarization and dequantization.

        Returns:
            ``(x,)``, or ``(x, y)`` with labels.
        """
        total = len(self._items)
        order = torch.arange(total) if n is None else choice(total, n, seed)
        return tuple(map(torch.cat, zip(*self.arguments(order, seed=seed), strict=True)))

    def _take(self, rows: Sequence[int]) -> Tensor:
        if isinstance(self._items, Tensor):
            x = self._items[torch.as_tensor(rows, device=self.device)]
        else:
            x = torch.stack([self._items[row] for row in rows]).to(self.device)
        generator = torch.Generator(self.device).manual_seed(_SEED)
        return self._convert(x, generator=generator).to(self.dtype)

    def _draw(self, order: Tensor) -> Iterator[Tensor]:
        if isinstance(self._items, Tensor):
            for rows in order.to(self.device).split(self._ahead * self.batch_size):
                # On a CPU this is several times faster than indexing by brackets.
                yield self._items.index_select(0, rows)
            return
        loader = torch_data.DataLoader(
            self._items,
            self.batch_size,
            sampler=order.tolist(),
            num_workers=worker_count(len(order)),
            worker_init_fn=ignore_interrupts,
            generator=torch.Generator(),  # else the global one draws seeds for the workers
        )
        for x in loader:
            yield x.to(self.device, non_blocking=True)


def batches_for(
    vae: Model, data: Source, part: Part, most: int = AT_ONCE, labels: bool | None = None
) -> Batches:
    """Make minibatches of at most ``most`` items of a part of the data, for a VAE.

    Batches include labels if ``labels`` is true; by default, if the VAE has labels and no
    classifier, with which it does without.

    Raises:
        ValueError: if the likelihood does not declare its domain, or `Batches` raises.
    """
    size = min(most, len(part))
    if labels is None:
        labels = vae.labels is not None and vae.classifier is None
    return Batches(data, part, domain_of(vae.likelihood), size, vae.device, vae.dtype, labels)


class _DrawnOnce(torch_data.Dataset[Tensor]):
    """Image files, each binarized by a draw that its index seeds."""

    def __init__(self, files: ImageFiles, draw: Callable[..., Tensor]) -> None:
        self.files = files
        self.draw = draw

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(_SEED + index)
        return self.draw(self.files[index], generator=generator).to(torch.uint8)


def _draw_once(items: Tensor | ImageFiles, draw: Callable[..., Tensor]) -> Tensor | _DrawnOnce:
    if isinstance(items, ImageFiles):
        return _DrawnOnce(items, draw)
    generator = torch.Generator().manual_seed(_SEED)
    chunks = items.cpu().split(_CHUNK)
    return torch.cat([draw(chunk, generator=generator).to(torch.uint8) for chunk in chunks])
