"""The colours of the data in pictures of their latents: the classes, known or inferred."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pvae.data.batches import batches_for
from pvae.data.dataset import Dataset
from pvae.data.part import Part
from pvae.plots.style import Canvas, style
from pvae.vae import VAE


class Coloured(NamedTuple):
    """Parts of the data, and the classes that colour their items.

    Attributes:
        parts: the parts, one after another.
        labels: the class of each item, shape (n,); ``None`` if all have one colour.
        classes: the names of the classes, if they have any.
        title: where classes are known of some items only, whether they are true or inferred.
    """

    parts: list[Part]
    labels: Tensor | None = None
    classes: Sequence[str] | None = None
    title: str = ""


def coloured(vae: VAE, data: Dataset, most: int) -> Coloured:
    """Choose the items of a picture of latents, and their colours.

    The items are those of all parts whose classes are known. If there is no such part, all items
    are shown, with the classes that the classifier infers if the VAE has one.

    Args:
        vae: the VAE.
        data: its data.
        most: the maximum number of items.
    """
    parts = [*reversed(data.parts.values())]
    known = [part for part in parts if labels_of([part]) is not None]
    if known:
        title = "" if vae.classifier is None else "coloured by true class"
        return Coloured(known, labels_of(known, most), data.classes, title)
    if vae.classifier is None:
        return Coloured(parts)
    inferred, left = [], most
    for part in parts:
        n = min(left, len(part))
        if n == 0:
            break  # an empty batch cannot be classified
        left -= n
        for (x,) in batches_for(vae, data, part).arguments(torch.arange(n)):
            inferred.append(vae.classify(x).probs.argmax(-1).cpu())
    # Classes that were learned without any label are clusters, which have no names.
    labels = data.train.y
    names = data.classes if labels is not None and bool((labels >= 0).any()) else None
    return Coloured(parts, torch.cat(inferred), names, "coloured by inferred class")


def add_title(figure: Canvas, title: str) -> None:
    """Write what the colours are above a picture, if there is something to say."""
    if title:
        with style():
            figure.suptitle(title)


def labels_of(parts: Sequence[Part], most: int | None = None) -> Tensor | None:
    """The classes of the first items of some parts; ``None`` if one is unknown or no class."""
    labels: list[Tensor] = []
    for part in parts:
        if part.y is None or part.y.dim() > 1 or bool((part.y < 0).any()):
            return None
        labels.append(part.y)
    return torch.cat(labels)[:most]
