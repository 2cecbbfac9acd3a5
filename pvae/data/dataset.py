"""The data set: its parts, and the domain of its values."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pvae.checks import is_whole
from pvae.data.batches import batches_for
from pvae.data.domains import Binarization, Domain, describe, domain_of
from pvae.data.labels import keep
from pvae.data.part import Part
from pvae.interfaces import Model, option
from pvae.messages import kind_of, shown

_MOST_CLASSES = 2**20


@dataclass(eq=False, repr=False)
class Dataset:
    """A data set in parts, as `pvae.data.load` returns it.

    Args:
        name: its name in messages and results.
        train: the items to train on.
        domain: the domain of the values.
        value_range: the lowest and highest value.
        validation: the items for model selection, if any.
        test: the items to report results on, if any.
        classes: the names of the labels, if they have names: label i is ``classes[i]``.
        binarization: how grey values become binary under a binary likelihood.
        arguments: keyword arguments of `pvae.data.load` that load the same data again, as plain
            values for YAML; ``arguments["data"]`` is None if the data (or their labels) were
            given by value.
        skipped: paths of the broken images that were left out.
        columns: the names of the values of one item, if these have names, as those of a table.

    Example:
        >>> import pvae.data
        >>> dataset = pvae.data.load("digits")
        >>> dataset.event_shape, dataset.levels
        ((1, 8, 8), 17)
    """

    name: str
    train: Part
    domain: Domain
    value_range: tuple[float, float]
    validation: Part | None = None
    test: Part | None = None
    classes: tuple[str, ...] | None = None
    binarization: Binarization = "dynamic"
    arguments: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one item."""
        return self.train.event_shape

    @property
    def levels(self) -> int | None:
        """Number of levels a value can take if the values are bytes, else None."""
        return int(self.value_range[1]) + 1 if self.domain == "bytes" else None

    @property
    def parts(self) -> dict[str, Part]:
        """The existing parts by name, in the order train, validation, test."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    def part(self, name: str) -> Part:
        """Return a part by its name.

        Raises:
            ValueError: if there is no such part.
        """
        if name not in ("train", "validation", "test"):
            raise ValueError(f"part is {shown(name)}: choose train, validation or test.")
        if name not in self.parts:
            raise ValueError(
                f"The data set {self.name} has no {name} part: choose another part, or load it "
                f"with {name}= a fraction or number of items."
            )
        return self.parts[name]

    def batch(
        self, vae: Model, part: str = "test", n: int | None = None, seed: int = 0
    ) -> Tensor | Any:
        r"""Return items of a part in the domain of a VAE's likelihood.

        Bytes become binary or dequantized values as in training (see
        `pvae.data.conversion.convert`), and all values have the VAE's dtype and are on its device.

        Args:
            vae: the VAE.
            part: train, validation or test.
            n: the number of items, chosen at random, or all if there are fewer; ``None`` for all
                in their order.
            seed: of that choice, and of binarization and dequantization.

        Returns:
            x of shape (n, \*event_shape); for a conditional VAE the pair (x, y), with labels,
            unless it has a classifier, which does without.

        Raises:
            TypeError: if ``vae`` is not a VAE.
            ValueError: if there is no such part, n is below 1, or the data do not fit the VAE.

        Example:
            >>> import pvae
            >>> data = pvae.data.load("digits")
            >>> vae = pvae.build(data.event_shape, latent_dim=2)
            >>> x = data.batch(vae, "test", n=5)
            >>> x.shape, x.unique(), vae.encode(x).mean.shape
            (torch.Size([5, 1, 8, 8]), tensor([0., 1.]), torch.Size([5, 2]))
        """
        if not isinstance(vae, Model):
            raise TypeError(f"vae is {kind_of(vae)}: give the VAE that the batch is for.")
        self.check_model(vae)
        held = self.part(part)
        if n is not None and not (is_whole(n) and n >= 1):
            raise ValueError(
                f"n is {shown(n)}: it must be a whole number of at least 1, or None for all."
            )
        if not is_whole(seed) or not 0 <= seed < 2**63:
            raise ValueError(
                f"seed is {shown(seed)}: it must be a whole number from 0 to 2**63 - 1."
            )
        found = batches_for(vae, self, held).choose(n, seed)
        return found[0] if len(found) == 1 else found

    def check_model(self, vae: Model) -> None:
        """Raise if these cannot be the data of a VAE.

        Raises:
            ValueError: if its likelihood does not declare a domain, its event shape differs, or
                it does not take the padding of the data.
        """
        domain_of(vae.likelihood)
        if self.event_shape != tuple(vae.event_shape):
            raise ValueError(
                f"The data {self.name} have event shape {self.event_shape}, the VAE was made for "
                f"{tuple(vae.event_shape)}: build it for the data, or load the data in its shape."
            )
        padded = len(self.event_shape) == 2 and any(
            isinstance(part.x, Tensor) and bool(part.x.isnan().any())
            for part in self.parts.values()
        )
        if padded and not option(vae.likelihood, "padded"):
            raise ValueError(
                f"The data {self.name} are sequences of several lengths, padded with NaN: take the "
                "likelihood Padded, such as --likelihood Padded --likelihood.likelihood "
                f"{type(vae.likelihood).__name__}."
            )

    def label_sizes(self) -> dict[str, int | None]:
        """The number of classes, or of values in a label, as arguments of `pvae.build`.

        Returns:
            ``{"classes": ..., "label_dim": ...}``, one of them ``None``.

        Raises:
            ValueError: if there are no labels.
        """
        if self.train.y is None:
            raise ValueError(
                f"The data {self.name} have no labels: choose data with labels, load a file with "
                "labels=, or train a VAE that is not conditional."
            )
        if self.train.y.dim() == 2:
            return {"classes": None, "label_dim": self.train.y.shape[1]}
        most = 0
        for name, part in self.parts.items():
            if part.y is None:
                raise ValueError(
                    f"The {name} part of {self.name} has no labels, and train has some: give every "
                    "part its labels."
                )
            most = max(most, int(part.y.max()))
        if most >= _MOST_CLASSES:
            raise ValueError(
                f"The labels of {self.name} go up to {most:,}, which cannot be the number of a "
                "class; number the classes from 0, or give their names."
            )
        return {"classes": max(most + 1, len(self.classes or ())), "label_dim": None}

    def with_labelled(self, n: int, seed: int = 0) -> Dataset:
        """Return the data with n labels of the train part, and the others unknown, -1.

        They are as evenly over the classes as possible. Labels of the validation part become
        unknown as well; those of the test part are kept, to report the error.

        Args:
            n: how many labels to keep; 0 for none.
            seed: of their choice.

        Raises:
            ValueError: if there are no labels, they are not classes, there are fewer than n, or n
                is below the number of classes.
        """
        if not is_whole(n) or n < 0:
            raise ValueError(f"labelled is {shown(n)}: give a number of labels to keep.")
        y = self.train.y
        if y is None:
            raise ValueError(
                f"labelled is {n}, and the data {self.name} have no labels of which to keep some: "
                "choose data with labels, or leave labelled out."
            )
        if self.label_sizes()["classes"] is None:
            raise ValueError(
                f"The labels of {self.name} are continuous: labelled= is for labels that are "
                "classes."
            )
        train = replace(self.train, y=keep(y, n, seed))
        validation = self.validation
        if validation is not None and validation.y is not None:
            validation = replace(validation, y=torch.full_like(validation.y, -1))
        chosen = {**self.arguments, "labelled": int(n), "labelled_seed": int(seed)}
        return replace(self, train=train, validation=validation, arguments=chosen)

    def with_classes(
        self, classes: Sequence[str], among: Sequence[str] = ("train", "validation", "test")
    ) -> Dataset:
        """Return the data with their labels renumbered to match these classes by name.

        Data without class names are returned unchanged.

        Args:
            classes: the names of all classes.
            among: the parts that may hold only these classes; an unknown class in another part
                gets the number after the last.

        Raises:
            ValueError: if a class of the data is not among them.
        """
        if self.classes is None:
            return self
        if isinstance(classes, str) or not isinstance(classes, Sequence):
            kind = type(classes).__name__
            raise TypeError(f"classes are of type {kind}: give a sequence of names.")
        asked = [part for name, part in self.parts.items() if name in among]
        known = [part.y[part.y >= 0] for part in asked if part.y is not None]
        used = {int(i) for y in known for i in y.unique()}
        unknown = [self.classes[i] for i in sorted(used) if self.classes[i] not in classes]
        if unknown:
            raise ValueError(
                f"The data {self.name} have a class {unknown[0]!r}, which is none of those trained "
                f"on: {', '.join(classes[:8])}{', ...' if len(classes) > 8 else ''}."
            )
        # The last, for -1, an unknown label.
        numbers = torch.tensor([*([*classes, name].index(name) for name in self.classes), -1])
        renumbered: dict[str, Any] = {
            name: part if part.y is None else replace(part, y=numbers[part.y])
            for name, part in self.parts.items()
        }
        return replace(self, classes=tuple(classes), **renumbered)

    def fingerprint(self) -> str:
        """Return a short hash of the training items.

        Images that are not kept in memory are identified by their file names.
        """
        x = self.train.x
        if isinstance(x, Tensor):
            content = x.contiguous().cpu().numpy().tobytes()
        else:
            content = "\n".join(os.path.basename(path) for path in x.paths).encode()
        return hashlib.blake2b(content, digest_size=8).hexdigest()

    def __repr__(self) -> str:
        parts = [f"{len(self.train):,} training"]
        parts += [f"{len(self.validation):,} validation"] if self.validation is not None else []
        parts += [f"{len(self.test):,} test"] if self.test is not None else []
        counted = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
        text = (
            f"{self.name}: {counted} items of shape {self.event_shape}, "
            f"{describe(self.domain, self.value_range)}"
        )
        if self.domain in ("unit interval", "open unit interval", "bytes"):
            text += f", {self.binarization} binarization for binary likelihoods"
        if self.classes is not None:
            text += f", in {len(self.classes):,} classes"
        if self.skipped:
            count = len(self.skipped)
            text += f"; {count:,} broken {'image' if count == 1 else 'images'} left out"
        return text + "."
