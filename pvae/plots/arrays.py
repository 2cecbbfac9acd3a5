"""Convert arrays and tensors on any device to checked NumPy arrays for plotting."""

from typing import TypeAlias

import numpy as np
import torch

Array: TypeAlias = np.ndarray | torch.Tensor


def as_numpy(name: str, values: Array) -> np.ndarray:
    """The array as NumPy, whatever its device and precision.

    Raises:
        ValueError: if the array is empty.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        # NumPy has no bfloat16.
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    values = np.asarray(values)
    if values.size == 0:
        raise ValueError(f"{name} is empty (shape {values.shape}): there is nothing to plot.")
    return values


def as_reals(name: str, values: Array) -> np.ndarray:
    """The array as finite 64-bit floats.

    Raises:
        TypeError: if its elements are not real numbers.
        ValueError: if it is empty, or holds NaN or infinities.
    """
    values = as_numpy(name, values)
    if values.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold real numbers, but its dtype is {values.dtype}.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values: pass finite numbers only.")
    return values


def as_points(name: str, values: Array) -> np.ndarray:
    """The array as finite points of shape ``(n, d)``.

    Raises:
        TypeError: if its elements are not real numbers.
        ValueError: if it is empty, not finite, or has another number of dimensions.
    """
    values = as_reals(name, values)
    if values.ndim != 2:
        raise ValueError(
            f"{name} must have shape (n, latent_dim), but its shape is {values.shape}."
        )
    return values


def as_events(name: str, values: Array, batch: tuple[str, ...]) -> np.ndarray:
    """The array as finite events that can be plotted, with the named batch dimensions before them.

    Sequences may be padded: their last steps may be NaN. Events (T, T) are refused, since they are
    nearly always images without their channel.

    Raises:
        TypeError: if its elements are not real numbers.
        ValueError: if it is empty, not finite, or its events are neither images ``(1, H, W)`` or
            ``(3, H, W)`` nor sequences ``(T, D)`` nor vectors ``(D,)``.
    """
    values = as_numpy(name, values)
    event = values.shape[len(batch) :]
    is_image = len(event) == 3 and event[0] in (1, 3)
    is_sequence = len(event) == 2 and event[0] != event[1]
    is_vector = len(event) == 1
    if not (is_image or is_sequence or is_vector):
        ways = ", ".join(batch)
        raise ValueError(
            f"{name} must have shape ({ways}, 1, H, W) or ({ways}, 3, H, W) for images, "
            f"({ways}, T, D) for sequences or ({ways}, D) for vectors, but its shape is "
            f"{values.shape}."
        )
    if is_sequence and values.dtype.kind == "f":
        pads = _padding(values)
        return np.where(pads, np.nan, as_reals(name, np.where(pads, 0, values)))
    return as_reals(name, values)


def _padding(sequences: np.ndarray) -> np.ndarray:
    """Which steps of sequences pad them: those at the end whose values are all NaN."""
    empty = np.isnan(sequences).all(-1, keepdims=True)
    return np.logical_and.accumulate(empty[..., ::-1, :], axis=-2)[..., ::-1, :]


def as_posteriors(mean: Array, scale: Array | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The means and scales of Gaussian posteriors over two latents, each of shape ``(n, 2)``.

    Raises:
        TypeError: if their elements are not real numbers.
        ValueError: if they are empty, not finite, of other shapes, or a scale is not positive.
    """
    mean = as_points("mean", mean)
    if mean.shape[1] != 2:
        raise ValueError(
            f"mean must hold two latents, shape (n, 2), but its shape is {mean.shape}: use tsne "
            "for more than two."
        )
    if scale is None:
        return mean, None
    scale = as_reals("scale", scale)
    if scale.shape != mean.shape:
        raise ValueError(
            f"scale must have the shape of mean, {mean.shape}, but its shape is {scale.shape}."
        )
    if not (scale > 0).all():
        raise ValueError(
            f"scale must be positive, as standard deviations are, but its least is {scale.min()}."
        )
    return mean, scale
