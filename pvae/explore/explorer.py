"""What the page shows of a trained VAE, computed when it is asked for."""

import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pvae import moments
from pvae.data.dataset import Dataset
from pvae.evaluation import impute, log_likelihood
from pvae.evaluation.k_hat import UNRELIABLE
from pvae.explore import planes
from pvae.explore.description import labels_of, latents_of, refusals
from pvae.explore.frames import Frames
from pvae.explore.items import MOST, SAMPLES, Items, Scores, score
from pvae.explore.spaces import Space
from pvae.explore.values import as_bytes, as_count, as_index, as_vector, as_vectors, finite
from pvae.inputs import as_latents
from pvae.plots.classes import colours
from pvae.seeds import seeded
from pvae.vae import VAE

MOST_FRAMES = 800  # decoded at once
MOST_VALUES = 2**23  # in all of them
PIXELS = 80_000_000  # of an image file
EVIDENCE = 1000  # importance samples for log p(x)
CLOUD = 500  # draws of a posterior, whose spread the plane shows
DRAWS = 3  # multiple imputations
MOST_PLANES = 10  # on which a datum is placed at once
THUMBNAIL, STRIP = 32, 64  # pixels along the side of small pictures


class Explorer:
    """A trained VAE and its data, and every answer that the page asks of them.

    Answers are plain values for JSON. What takes long (posteriors of the data, maps, scores) is
    computed when it is first asked for. One thread at a time uses the model.

    Args:
        vae: the trained VAE.
        data: its data; the last part (test, if there is one) is shown.
        title: the name of the page.
        numbers: what is known of the run, as `pvae.explore.numbers.numbers_of` returns.
        most: the maximum number of data.

    Raises:
        ValueError: if the data do not fit the VAE.

    Example:
        >>> import pvae
        >>> data = pvae.data.load("digits")
        >>> explorer = pvae.explore.Explorer(pvae.build(data.event_shape, latent_dim=2), data)
        >>> explorer.answer("decode", {"z": [[0.0, 0.0]]})["frames"]["count"]
        1
    """

    def __init__(
        self,
        vae: VAE,
        data: Dataset,
        title: str = "VAE",
        numbers: Mapping[str, Any] | None = None,
        most: int = MOST,
    ) -> None:
        data.check_model(vae)
        self.vae = vae.eval()
        self.data = data
        self.title = title
        self.numbers = dict(numbers or {})
        self.most = most
        self.lock = threading.Lock()
        # Of what is computed once: several requests may ask for it at the same time.
        self._encoding, self._mapping, self._scoring = (threading.Lock() for _ in range(3))
        self._planes: dict[tuple, planes.Plane] = {}
        self._scores: Scores | None = None

    def answer(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a request of the page.

        Raises:
            LookupError: if there is no such request.
            ValueError: if it cannot be answered; the message is a sentence for the reader.
        """
        known = {
            "model": self._model,
            "plane": self._plane,
            "at": self._at,
            "decode": self._decode,
            "sample": self._sample,
            "items": self._items,
            "scores": self._scored,
            "datum": self._datum,
            "evidence": self._evidence,
            "impute": self._impute,
        }
        if name not in known:
            raise LookupError(f"There is no request {name!r}.")
        return known[name](request)

    def close(self) -> None:
        """Stop computing in the background."""
        if self._scores is not None:
            self._scores.stop()

    # Once ----------------------------------------------------------------------------------------

    @cached_property
    def space(self) -> Space:
        """The space of the latents."""
        return Space(self.vae, self._label(None))

    @property
    def items(self) -> Items:
        """The data on the page."""
        with self._encoding:
            return self._encoded

    @cached_property
    def _encoded(self) -> Items:
        with self.lock:
            return Items(self.vae, self.data, self.most)

    @cached_property
    def frames(self) -> Frames:
        """How data are drawn."""
        return Frames(self.vae, self.data, self.items.x)

    @property
    def scores(self) -> Scores:
        """The anomaly scores of the data, which are begun at the first call."""
        items = self.items
        with self._scoring:
            if self._scores is None:
                self._scores = Scores(self.vae, items, self.lock)
            return self._scores

    @cached_property
    def _refusals(self) -> dict[str, str]:
        """Why log p(x) and imputation do not apply, if they do not."""
        items = self.items
        with self.lock:
            return refusals(self.vae, items)

    @cached_property
    def _prior(self) -> Tensor:
        """Draws of the prior, shape (1000, d)."""
        with self.lock, self.vae.evaluating(), seeded(0, self.vae.device):
            return self.vae.p_z(self._label(None)).expand((1000,)).sample().flatten(1).cpu()

    @cached_property
    def _latents(self) -> list[dict[str, Any]]:
        """The latents, those that vary most first, with the range of each slider."""
        return latents_of(self.items, self.space, self._prior)

    # Answers -------------------------------------------------------------------------------------

    def _model(self, request: Mapping[str, Any]) -> dict[str, Any]:
        items, vae = self.items, self.vae
        return {
            "title": self.title,
            "data": self.data.name,
            "parts": [type(part).__name__ for part in (vae.prior, vae.likelihood, vae.posterior)],
            "frames": self.frames.describe(),
            "space": {name: getattr(self.space, name) for name in ("kind", "groups", "radius")},
            "latents": self._latents,
            "start": self._start.tolist(),
            "planes": planes.names_of(self.space, len(items)),
            "items": {
                "part": items.part,
                "count": len(items),
                "total": items.total,
                "rows": items.rows.tolist(),
                "classes": None if items.classes is None else items.classes.tolist(),
                "names": items.names,
                "colours": colours(len(items.names)).tolist() if items.names else [],
                "binarization": self.frames.binarization,
            },
            "labels": labels_of(vae, items, self._label(None)),
            "can": {
                "evidence": "evidence" not in self._refusals,
                "impute": "impute" not in self._refusals,
                "draw": self.frames.pictures,
                "decode": True,
            },
            "refusals": self._refusals,
            "samples": {"evidence": EVIDENCE, "score": SAMPLES},
            "numbers": self.numbers,
        }

    @cached_property
    def _start(self) -> Tensor:
        """The z that sliders start from: the average of the data, or the nearest valid one."""
        return self.space.nearest(self.items.mean.mean(0))

    def _plane(self, request: Mapping[str, Any]) -> dict[str, Any]:
        plane = self._plane_of(request)
        box = planes.extent(plane, self._prior)
        described = {
            "axes": plane.axes,
            "points": np.round(plane.points, 4).tolist(),
            "extent": box,
            "tiles": None,
        }
        if isinstance(plane, planes.Neighbours):
            return described
        k = self._tiles if "side" not in request else as_count("side", request["side"], 24)
        if self._tiles:
            left, right, bottom, top = box
            step = (torch.arange(k) + 0.5) / k
            across, down = left + step * (right - left), top + step * (bottom - top)
            grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1).flatten(0, 1)
            z, _ = plane.latents(grid, self._base(request))
            tiles = self.frames.pack(self._means(z, request), THUMBNAIL)
            described["tiles"] = {"side": k, "frames": tiles}
        return described

    @property
    def _tiles(self) -> int:
        """The number of decoded points along a side of the plane; 0 for none."""
        size = self.vae.event_shape.numel()
        if not self.frames.pictures:
            return 10 if size <= 64 else 0
        return int(np.clip(np.sqrt(2**19 / size), 6, 15))

    def _at(self, request: Mapping[str, Any]) -> dict[str, Any]:
        plane = self._plane_of(request)
        points = as_vectors("points", request.get("points"), 2, MOST_FRAMES)
        z, items = plane.latents(points, self._base(request))
        return {
            "z": finite(z),
            "items": items,
            "frames": self.frames.pack(self._means(z, request)),
        }

    def _decode(self, request: Mapping[str, Any]) -> dict[str, Any]:
        z = as_vectors("z", request.get("z"), self.space.size, MOST_FRAMES)
        most = STRIP if request.get("small") is True else None
        return {"frames": self.frames.pack(self._means(z, request), most)}

    def _sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        n = as_count("n", request.get("n", 24), 100)
        seed = as_count("seed", request.get("seed", 0), 2**31, least=0)
        y = self._label(request.get("y"))
        with self.lock, self.vae.evaluating(), seeded(seed, self.vae.device):
            given = None if self.vae.labels is None else self.vae.labels.each(y, n)
            prior = self.vae.p_z(given)
            z = prior.sample((n,) if prior.batch_shape == () else ()).flatten(1).cpu()
        return {"z": finite(z), "frames": self.frames.pack(self._means(z, request), STRIP)}

    def _items(self, request: Mapping[str, Any]) -> dict[str, Any]:
        rows = request.get("rows")
        if not isinstance(rows, list) or not 1 <= len(rows) <= 200:
            raise ValueError("rows must be a list of 1 to 200 numbers of items.")
        chosen = [as_index("rows", row, len(self.items)) for row in rows]
        return {"frames": self.frames.pack(self.items.x[chosen], THUMBNAIL)}

    def _scored(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if "evidence" in self._refusals:
            raise ValueError(self._refusals["evidence"])
        found = self.scores.describe()
        return found | {
            name: finite(torch.tensor(found[name])) for name in ("log_prob", "pareto_k")
        }

    def _datum(self, request: Mapping[str, Any]) -> dict[str, Any]:
        x, y = self._datum_of(request)
        with self.lock, self.vae.evaluating(), seeded(0, self.vae.device):
            q = self.vae.encode(x, y)
            mean, stddev = (f(q).flatten(1).cpu() for f in (moments.mean, moments.stddev))
            cloud = q.sample((CLOUD,)).reshape(CLOUD, -1).cpu()
            again = self.vae.reconstruct(x, y)
        known: dict[str, Any] = {
            "x": self.frames.pack(x),
            "reconstruction": self.frames.pack(again),
            "mean": finite(mean[0]),
            "stddev": finite(stddev[0]),
            "z": finite(self.space.nearest(mean[0])),
            "classified": self._classified(x),
        }
        asked = request.get("planes", [])
        if not isinstance(asked, list) or len(asked) > MOST_PLANES:
            raise ValueError(f"planes must be a list of at most {MOST_PLANES} planes.")
        known["places"] = [
            planes.place(self._plane_of(one), mean, cloud, request.get("item")) for one in asked
        ]
        return known

    def _classified(self, x: Tensor) -> dict[str, Any] | None:
        """The most probable class of a datum by the classifier, if the VAE has one."""
        if self.vae.classifier is None:
            return None
        with self.lock, self.vae.evaluating():
            best = self.vae.classify(x).probs[0].max(-1)
        return {"label": int(best.indices), "probability": finite(best.values)}

    def _evidence(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self.evidence(*self._datum_of(request))[0]

    def evidence(self, x: Tensor, y: Tensor | None) -> list[dict[str, Any]]:
        """The log p(x) of each datum with its reliability, and that by which scores compare."""
        with self.lock:
            found = log_likelihood(self.vae, x, y, num_samples=EVIDENCE, progress=False)
            own = score(self.vae, x, y).log_prob
        columns = {
            "log_prob": finite(found.log_prob),
            "standard_error": finite(found.standard_error),
            "pareto_k": finite(found.pareto_k),
            "reliable": [not k > UNRELIABLE for k in found.pareto_k.tolist()],
            "effective_sample_size": finite(found.effective_sample_size),
            "samples": [EVIDENCE * found.over_weights.shape[1]] * len(x),
            "score_log_prob": finite(own),
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _impute(self, request: Mapping[str, Any]) -> dict[str, Any]:
        x, y = self._datum_of(request)
        wiped = as_bytes("mask", request.get("mask"))
        shape = self.vae.event_shape
        size = shape[1:].numel() if self.frames.pictures else shape.numel()
        if len(wiped) != size:
            raise ValueError(f"mask has {len(wiped):,} bytes: expected {size:,}, 1 where wiped.")
        observed = torch.frombuffer(bytearray(wiped), dtype=torch.uint8) == 0
        if bool(observed.all()):
            raise ValueError("Nothing is wiped out: use the eraser on the datum first.")
        mask = observed.view(shape[1:]) if self.frames.pictures else observed.view(shape)
        with self.lock:
            found = impute(self.vae, x, mask, y, num_samples=1000, draws=DRAWS, progress=False)
        return {
            "mean": self.frames.pack(found.x),
            "draws": self.frames.pack(found.draws[:, 0]),
            "effective_sample_size": finite(found.effective_sample_size)[0],
            "log_prob": finite(found.log_prob)[0],
        }

    def picture(self, content: bytes) -> dict[str, Any]:
        """Decode an image file to a frame of the shape of the data.

        Raises:
            ValueError: if it is no picture, has too many pixels, or the data are no pictures.
        """
        frames = self.frames
        with self.lock:
            return {"frame": frames.read_picture(content, PIXELS)}

    # Arguments -----------------------------------------------------------------------------------

    def _plane_of(self, request: Any) -> planes.Plane:
        """The plane of a request, made when it is first asked for."""
        name = request.get("plane") if isinstance(request, Mapping) else None
        d = self.space.size
        if not isinstance(name, str):
            raise ValueError("plane must be the name of a plane.")
        first, second = 0, min(1, d - 1)
        if name == "pair":
            first = as_index("first", request.get("first", first), d)
            second = as_index("second", request.get("second", second), d)
        means = self.items.mean
        key = (name, first, second)
        if name == "pair":
            return planes.make(name, means, self.space, first, second)
        with self._mapping:
            if key not in self._planes:
                self._planes[key] = planes.make(name, means, self.space, first, second)
            return self._planes[key]

    def _base(self, request: Mapping[str, Any]) -> Tensor:
        if request.get("base") is None:
            return self._start
        return as_vector("base", request["base"], self.space.size)

    def _label(self, y: Any) -> Any:
        """The label of a request: that given, or the first."""
        labels = self.vae.labels
        if labels is None:
            return None
        if y is None:
            return 0 if labels.classes is not None else labels.loc.tolist()
        if isinstance(y, list):
            return as_vector("y", y, labels.size).tolist()
        return as_vector("y", [y], 1).item()

    def _datum_of(self, request: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """The datum of a request, shape (1, *event_shape), and its label if the VAE has any."""
        labels, vae = self.vae.labels, self.vae
        if "item" in request:
            row = as_index("item", request["item"], len(self.items))
            x, y = self.items.x[row], None if self.items.y is None else self.items.y[row : row + 1]
        elif "pixels" in request:
            x = self.frames.unpack(as_bytes("pixels", request["pixels"]))
            y = None
            if labels is not None:
                known = self._classified(x.unsqueeze(0).to(vae.device, vae.dtype))
                label = self._label(request.get("y")) if known is None else known["label"]
                y = labels.check(label).unsqueeze(0)
        else:
            raise ValueError("There is no datum: give item, or the pixels of a picture.")
        return x.unsqueeze(0).to(vae.device, vae.dtype), None if y is None else y.to(vae.device)

    def _means(self, z: Tensor, request: Mapping[str, Any]) -> Tensor:
        """E[x|z] of flat latents, shape (n, *event_shape)."""
        if len(z) * self.vae.event_shape.numel() > MOST_VALUES:
            raise ValueError(f"{len(z):,} points are too many to decode at once: ask for fewer.")
        y = self._label(request.get("y"))
        with self.lock, self.vae.evaluating(), seeded(0, self.vae.device):
            latents = as_latents(self.vae, self.space.check(z))
            x = moments.mean(self.vae.decode(latents, y))
        if not bool(x.isfinite().all()):
            raise ValueError("The decoder gives numbers that are not finite at this z.")
        return x.cpu()
