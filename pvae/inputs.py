"""Checks of the data and latents that are passed to a VAE, before its networks run."""

import math
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from pvae.data.domains import BYTE_LEVELS, Domain, all_within, within
from pvae.distributions.padded import check_lengths, padding
from pvae.interfaces import Model, option
from pvae.messages import kind_of
from pvae.rows import has_values, slices

_VALUES: dict[Domain, str] = {
    "binary": "binary values, 0 and 1",
    "unit interval": "values in [0, 1]",
    "open unit interval": "values in (0, 1)",
    "counts": "counts, whole numbers from 0",
    "positive reals": "positive real numbers",
    "reals": "finite real numbers",
}


def as_data(
    vae: Model, x: Any, name: str = "x", *, move: bool = True, values: bool = True
) -> Tensor:
    r"""Check data and return them as a tensor of the VAE's dtype.

    Values are compared with the domain of the likelihood, except while a program is traced, when
    tensors have no values.

    Args:
        vae: the VAE.
        x: a tensor, an array, or nested lists of numbers, shape (\*batch, \*event_shape).
        name: its name in error messages.
        move: whether to move it to the VAE's device.
        values: whether to check its values.

    Raises:
        TypeError: if it is none of these.
        ValueError: if it has another event shape, values outside the likelihood's domain, or a
            sequence of length 0.
    """
    x = as_tensor(name, x, _batch(vae))
    check_event(vae, x, name)
    x = x.to(vae.device if move else x.device, vae.dtype)
    domain = option(vae.likelihood, "domain")
    if not values or domain not in get_args(Domain) or not has_values(x):
        return x
    levels = option(vae.likelihood, "levels") or BYTE_LEVELS
    rows = x.detach().reshape(-1, *vae.event_shape)
    parts = (rows[part] for part in slices(len(rows), math.prod(vae.event_shape)))
    if all(all_within(part, domain, levels) for part in parts):
        return x
    inside = within(x.detach(), domain, levels)
    if option(vae.likelihood, "padded"):
        pads = padding(x.detach(), len(vae.event_shape))
        check_lengths(pads.reshape(-1, vae.event_shape[0]))
        inside = inside | pads
    if not bool(inside.all()):
        wrong = x.detach()[~inside][0].item()
        over = f"bytes, levels from 0 to {levels - 1}" if domain == "bytes" else _VALUES[domain]
        raise ValueError(
            f"{name} holds {wrong:g}, and the likelihood {type(vae.likelihood).__name__} is over "
            f"{over}: take a batch in its domain by data.batch(vae, 'test'), or convert the data."
        )
    return x


def as_latents(vae: Model, z: Any) -> Tensor:
    r"""Check latents and return them as a tensor, shape (\*batch, \*latent_shape).

    Raises:
        TypeError: if they are not numbers.
        ValueError: if they have another event shape.
    """
    shape = ", ".join(["*batch", *map(str, vae.latent_shape)])
    z = as_tensor("z", z, f"a tensor of shape ({shape}), as a draw of vae.encode(x)")
    if z.shape[max(z.dim() - len(vae.latent_shape), 0) :] != vae.latent_shape:
        raise ValueError(f"z has shape {tuple(z.shape)}: expected ({shape}) for this VAE.")
    return z.to(vae.device, vae.dtype)


def as_tensor(name: str, values: Any, wanted: str) -> Tensor:
    """Convert values to a dense tensor.

    Args:
        name: their name in error messages.
        values: a tensor, an array, or nested lists of numbers.
        wanted: the expected values, for the error message.

    Raises:
        TypeError: if they are none of these.
        ValueError: if they are complex or sparse.
    """
    if not isinstance(values, Tensor):
        if not isinstance(values, np.ndarray | list | tuple | int | float):
            remedy = "; make it dense by .toarray()" if hasattr(values, "toarray") else ""
            kind = kind_of(values)
            raise TypeError(f"{name} is {kind}: expected {wanted}{remedy}.")
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise TypeError(
                f"{name} is nested lists of unequal lengths: expected {wanted}."
            ) from error
        if array.dtype.kind not in "biufc":
            raise TypeError(f"{name} is an array of dtype {array.dtype}: expected {wanted}.")
        values = torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
    if values.is_complex() or values.layout != torch.strided:
        kind = "complex" if values.is_complex() else "sparse"
        raise ValueError(f"{name} is {kind}: give a dense tensor of real numbers.")
    return values


def check_event(vae: Model, x: Tensor, name: str = "x") -> None:
    """Raise if x is not of the event shape.

    Raises:
        ValueError: if it is not.
    """
    if x.shape[max(x.dim() - len(vae.event_shape), 0) :] != vae.event_shape:
        shape = ", ".join(["*batch", *map(str, vae.event_shape)])
        raise ValueError(f"{name} has shape {tuple(x.shape)}: expected ({shape}) for this VAE.")


def check_observed(vae: Model, x: Any) -> None:
    """Raise if model and guide cannot take x; its values are not checked.

    Only its dtype and shape are read, which costs a training step nothing and is not traced.

    Raises:
        TypeError: if x is not a tensor of floating-point numbers.
        ValueError: if it has another event shape.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x is {kind_of(x)}: expected {_batch(vae)}.")
    if not x.is_floating_point() and option(vae.likelihood, "domain"):
        raise TypeError(f"x is of dtype {x.dtype}: expected {_batch(vae)}, of floating point.")
    check_event(vae, x)


def _batch(vae: Model) -> str:
    shape = ", ".join(["*batch", *map(str, vae.event_shape)])
    return f"a batch of shape ({shape}), as data.batch(vae, 'test') returns"
