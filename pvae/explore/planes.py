"""Planes through latent space: where the data lie on each, and which z a point of it stands for."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pvae.explore.spaces import Space
from pvae.explore.values import finite
from pvae.plots import tsne_maps
from pvae.plots.embeddings import principal_axes

NEIGHBOURS = 3  # data between which a map interpolates
ALIKE = 2.0  # of the usual distance of neighbours, up to which it interpolates


class Plane(Protocol):
    """Two coordinates of the latents.

    Attributes:
        axes: their names; empty if they have none.
        points: the coordinates of the posterior means, shape (n, 2).
    """

    axes: tuple[str, str]
    points: np.ndarray

    def latents(self, points: Tensor, base: Tensor) -> tuple[Tensor, list[int] | None]:
        """The z of points, shape (m, d), and the data they are exactly those of (-1 for none).

        Args:
            points: shape (m, 2).
            base: the z whose other coordinates they keep, shape (d,).
        """
        ...

    def project(self, z: Tensor) -> Tensor | None:
        """The coordinates of any z, shape (m, 2); ``None`` if only those of the data are known."""
        ...


class Pair:
    """Two latents as they are."""

    def __init__(self, means: Tensor, space: Space, first: int, second: int) -> None:
        self.index = [first, second]
        self.axes = (f"z{first + 1}", f"z{second + 1}")
        self.space = space
        self.points = means[:, self.index].numpy()

    def latents(self, points: Tensor, base: Tensor) -> tuple[Tensor, list[int] | None]:
        """The base with two latents replaced; on a sphere or in a ball the others are rescaled."""
        z = base.expand(len(points), -1).clone()
        z[:, self.index] = points
        if self.space.kind in ("sphere", "ball"):
            others = [i for i in range(self.space.size) if i not in self.index]
            room = (self.space.radius**2 - points.square().sum(-1)).clamp_min(0).sqrt()
            rest = z[:, others]
            norm = rest.norm(dim=-1).clamp_min(1e-6)
            if self.space.kind == "ball":
                room = room.minimum(norm)
            z[:, others] = rest * (room / norm).unsqueeze(-1)
        return self.space.nearest(z), None

    def project(self, z: Tensor) -> Tensor:
        """The two latents."""
        return z[:, self.index]


class Line:
    """A single latent across, and nothing upwards: points are spread to be told apart."""

    axes = ("z1", "")

    def __init__(self, means: Tensor, space: Space) -> None:
        self.space = space
        spread = np.random.default_rng(0).uniform(-0.8, 0.8, len(means))
        self.points = np.stack([means[:, 0].numpy(), spread], -1)

    def latents(self, points: Tensor, base: Tensor) -> tuple[Tensor, list[int] | None]:
        """The first coordinate."""
        return self.space.nearest(points[:, :1]), None

    def project(self, z: Tensor) -> Tensor:
        """The latent, and zero."""
        return torch.cat([z, torch.zeros_like(z)], -1)


class Components:
    """The first two principal components of the posterior means."""

    axes = ("component 1", "component 2")

    def __init__(self, means: Tensor, space: Space) -> None:
        self.space = space
        self.centre, self.directions = map(torch.from_numpy, principal_axes(means.numpy()))
        self.points = self.project(means).numpy()

    def latents(self, points: Tensor, base: Tensor) -> tuple[Tensor, list[int] | None]:
        """The base, moved along the two components."""
        moved = points - self.project(base.unsqueeze(0))
        return self.space.nearest(base + moved @ self.directions), None

    def project(self, z: Tensor) -> Tensor:
        """The two components."""
        return (z - self.centre) @ self.directions.T


class Neighbours:
    """A t-SNE map: a point stands for the datum nearest to it, or lies between neighbours.

    Between three data that are neighbours in latent space as well, z is their average, weighted by
    the inverse square of the distance on the map. At a datum it is exactly its posterior mean.
    """

    axes = ("", "")

    def __init__(self, means: Tensor, space: Space) -> None:
        self.means = means
        self.space = space
        self.points = tsne_maps(means.numpy()[None])[0]
        some = means[:500]
        apart = torch.cdist(some, means).topk(NEIGHBOURS + 1, largest=False).values[:, -1]
        self.usual = apart.median().item()

    def latents(self, points: Tensor, base: Tensor) -> tuple[Tensor, list[int] | None]:
        """The average of neighbours, or the nearest datum."""
        distance, index = torch.cdist(points, torch.from_numpy(self.points).to(points)).topk(
            NEIGHBOURS, largest=False
        )
        near = self.means[index]  # (m, NEIGHBOURS, d)
        spread = (near - near[:, :1]).norm(dim=-1).amax(-1)
        weight = 1 / distance.square().clamp_min(1e-12)
        blend = (near * (weight / weight.sum(-1, keepdim=True)).unsqueeze(-1)).sum(1)
        between = (spread <= ALIKE * self.usual) & (distance[:, 0] > 1e-6)
        if self.space.is_discrete:
            between &= False
        z = torch.where(between.unsqueeze(-1), blend, near[:, 0])
        items = torch.where(between, -1, index[:, 0]).tolist()
        return self.space.nearest(z), items

    def project(self, z: Tensor) -> None:
        """Unknown: a map has places for its own data only."""
        return None


def names_of(space: Space, items: int) -> list[dict[str, Any]]:
    """The planes that a space has, as the page lists them."""
    d = space.size
    found: list[dict[str, Any]] = []
    if not space.is_discrete:
        if d == 1:
            found.append({"id": "line", "title": "The latent"})
        else:
            found.append({"id": "pair", "title": "Two latents"})
        if d > 2 and items > 2:
            found.append({"id": "components", "title": "Principal components"})
    if d >= 2 and items >= 5 and (d > 2 or space.is_discrete):
        found.append({"id": "map", "title": "t-SNE map"})
    return found


def make(name: str, means: Tensor, space: Space, first: int, second: int) -> Plane:
    """Make a plane by its name.

    Raises:
        ValueError: if there is no such plane of these latents.
    """
    known = [entry["id"] for entry in names_of(space, len(means))]
    if name not in known:
        raise ValueError(f"There is no plane {name!r} of these latents: choose {', '.join(known)}.")
    if name == "pair":
        if first == second:
            raise ValueError("A plane has two different latents: choose another one.")
        return Pair(means, space, first, second)
    kinds: dict[str, Callable[[Tensor, Space], Plane]] = {
        "line": Line,
        "components": Components,
        "map": Neighbours,
    }
    return kinds[name](means, space)


def place(plane: Plane, mean: Tensor, cloud: Tensor, item: int | None) -> dict[str, Any]:
    """Where a posterior lies on a plane.

    Args:
        plane: the plane.
        mean: E[z|x], shape (1, d).
        cloud: draws of it, shape (n, d).
        item: its number among the data of the plane, if it is one of them.

    Returns:
        ``point``, its mean, and ``ellipse``, its covariance there; ``None`` if they are unknown.
    """
    point, spread = plane.project(mean), plane.project(cloud)
    if point is None or spread is None:
        known = None if item is None else np.round(plane.points[item], 4).tolist()
        return {"point": known, "ellipse": None}
    covariance = spread.double().T.cov()
    if isinstance(plane, Line):
        covariance[:, 1] = covariance[1] = 0
    return {"point": finite(point[0]), "ellipse": finite(covariance)}


def extent(plane: Plane, prior: Tensor) -> list[float]:
    """Left, right, bottom and top of the box that holds nearly all data and draws of the prior.

    It is a square, unless only its width has a meaning.

    Args:
        plane: the plane.
        prior: draws of the prior, shape (n, d).
    """
    clouds = [plane.points]
    drawn = plane.project(prior)
    if drawn is not None:
        clouds.append(drawn.numpy())
    bounds = np.stack([np.quantile(cloud, [0.005, 0.995], axis=0) for cloud in clouds])
    low, high = bounds[:, 0].min(0), bounds[:, 1].max(0)
    middle, half = (low + high) / 2, np.maximum(0.55 * (high - low), 1e-3)
    if not isinstance(plane, Line):
        half = np.full(2, half.max())
    (left, bottom), (right, top) = (middle - half).tolist(), (middle + half).tolist()
    return [left, right, bottom, top]
