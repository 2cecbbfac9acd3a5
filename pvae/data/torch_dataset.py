"""Reading map-style data sets of torch into memory."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from pvae.data.arrays import Arrays, from_arrays
from pvae.data.dataset import Dataset
from pvae.data.images import Channels, common_shape, to_bytes
from pvae.progress_bar import bar


def read_items(
    source: torch_data.Dataset[Any],
    size: tuple[int, int] | None = None,
    crop: bool = False,
    channels: Channels | None = None,
    event_shape: tuple[int, ...] | None = None,
) -> Dataset:
    """Read every item of a data set of torch.

    Args:
        source: a map-style data set whose items are x or (x, label), with x a Pillow image, a
            tensor or an array. Its attribute ``classes``, if it has one, names the labels.
        size: height and width to resize Pillow images to; needed if they differ.
        crop: whether to cut rather than stretch them to ``size``.
        channels: 1 for grey or 3 for colours; by default 1 if all Pillow images are grey.
        event_shape: shape of one item, see `pvae.data.arrays.as_items`.

    Returns:
        All items in ``train``.

    Raises:
        TypeError: if the data set has no length, or items of another kind.
        ValueError: if it is empty, or its items differ in shape.

    Example:
        >>> import torch
        >>> from pvae.data.torch_dataset import read_items
        >>> pairs = torch.utils.data.TensorDataset(torch.zeros(5, 3), torch.arange(5))
        >>> read_items(pairs).train
        Part(5 items of shape (3,) with labels)
    """
    from PIL import Image

    name = type(source).__name__
    if not hasattr(source, "__len__"):
        raise TypeError(f"The data set {name} has no length; give a map-style data set of torch.")
    if len(source) == 0:
        raise ValueError(f"The data set {name} is empty; give at least one item.")
    values, labels, pictures = [], [], 0
    with bar(total=len(source), desc="Drawing items", delay=2, leave=False) as progress:
        for index in range(len(source)):
            x, label = _pair(source[index], index, name)
            if isinstance(x, Image.Image):
                x = to_bytes(x, size, crop, channels)
                pictures += 1
            values.append(x.detach().cpu() if isinstance(x, Tensor) else torch.tensor(x))
            if label is not None:
                labels.append(label.tolist() if isinstance(label, Tensor) else label)
            progress.update()

    if pictures == len(values):
        common_shape((x.shape[1], x.shape[2]) for x in values)
        most = max(len(x) for x in values)
        values = [x.expand(most, -1, -1) for x in values]  # grey and colour images
    elif size is not None or crop or channels is not None:
        raise ValueError(
            f"The items of {name} are not images, so size, crop and channels do not apply; "
            f"leave them out."
        )
    for index, x in enumerate(values):
        if x.shape != values[0].shape:
            raise ValueError(
                f"Item {index} of {name} has shape {tuple(x.shape)} but item 0 "
                f"{tuple(values[0].shape)}; give items of one shape."
            )
    classes = getattr(source, "classes", None)
    dataset = from_arrays(
        name,
        {"train": Arrays(torch.stack(values), labels or None)},
        event_shape,
        classes if classes is None else tuple(str(label) for label in classes),
    )
    if pictures == len(values):  # even if all pixels are 0 or 1
        return replace(dataset, domain="bytes", value_range=(0.0, 255.0))
    return dataset


def _pair(item: Any, index: int, name: str) -> tuple[Any, Any]:
    from PIL import Image

    pair = tuple(item) if isinstance(item, (tuple, list)) else (item,)
    if len(pair) not in (1, 2) or not isinstance(pair[0], (Image.Image, Tensor, np.ndarray)):
        kind = f"tuple of {len(pair)}" if len(pair) > 2 else type(pair[0]).__name__
        raise TypeError(
            f"Item {index} of {name} is a {kind}; expected x or (x, label) with x a Pillow image, "
            f"a tensor or an array."
        )
    return pair[0], pair[1] if len(pair) == 2 else None
