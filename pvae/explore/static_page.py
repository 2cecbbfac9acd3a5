"""The page as one file that needs no server: it holds the answers to what it may ask."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pvae.explore.document import document
from pvae.explore.explorer import Explorer
from pvae.storage import files

MOST_BYTES = 5 * 2**20
STEPS = 9  # decoded values of a latent, as many as the page shows
SAMPLES = 24
LATENTS = 12  # with values of their own
PAIRED = 3  # latents, every two of which make a plane
CLASSES = 10  # labels of a conditional VAE
# What a page holds at the most: data, decoded points along a side of a plane, and labels. The first
# that fits is written.
SIZES = ((300, 20, CLASSES), (300, 14, CLASSES), (150, 12, 3), (80, 10, 1), (40, 6, 1), (20, 3, 1))


def write_page(explorer: Explorer, path: str | Path) -> Path:
    """Write the page into one file of at most 5 MB.

    It has the planes as grids of decoded points, each latent's values with the others at their
    average, samples of the prior, and the data with their reconstructions, posteriors and log p(x).

    Args:
        explorer: the model and its data.
        path: the file.

    Returns:
        The path.

    Raises:
        ValueError: if not even few data of the model fit.
        OSError: if it cannot be written.
    """
    path = Path(path)
    recorder = _Recorder(explorer)
    for items, side, labels in SIZES:
        content = document(explorer.title, recorder.record(items, side, labels)).encode()
        if len(content) <= MOST_BYTES:
            files.write(path, content)
            return path
    raise ValueError(
        f"The data of {explorer.data.name} are too large for a page of {MOST_BYTES // 2**20} MB: "
        "explore the run without --out."
    )


class _Recorder:
    """Asks an explorer what its page may ask, and keeps the answers."""

    def __init__(self, explorer: Explorer) -> None:
        self.ask = explorer.answer
        self.explorer = explorer
        self.model = explorer.answer("model", {})
        used = sum(latent["active"] for latent in self.model["latents"])
        self.active = self.model["latents"][: min(LATENTS, max(2, used))]  # a plane has two
        self.evidence: list[dict[str, Any]] = []  # of the most data, which come first
        self.posteriors: list[dict[str, Any]] = []  # likewise

    def record(self, items: int, side: int, labels: int) -> dict[str, Any]:
        """All answers, for so many data, decoded points and labels."""
        model = self.model
        n = min(items, model["items"]["count"])
        shown = model["items"] | {
            name: model["items"][name] and model["items"][name][:n] for name in ("rows", "classes")
        }
        known = model["labels"]
        given: list[dict[str, Any]] = [{}]
        if known is not None and known["names"] is not None:
            known = known | {"names": known["names"][:labels]}
            given = [{"y": y} for y in range(len(known["names"]))]
        requests = dict(self._planes())
        self.posteriors = self.posteriors or [
            self.ask("datum", {"item": item, "planes": [*requests.values()]}) for item in range(n)
        ]
        places = zip(*(answer["places"] for answer in self.posteriors[:n]), strict=True)
        found: dict[str, Any] = {
            "planes": {
                key: self._plane(request, n, side, given) | {"places": [*own]}
                for (key, request), own in zip(requests.items(), places, strict=True)
            },
            "traversals": {_key(label): self._traversal(label) for label in given},
            "samples": {
                _key(label): self.ask("sample", {"n": SAMPLES, **label}) for label in given
            },
            **self._data(n),
        }
        paired = sorted({i for plane in found["planes"].values() for i in plane.pop("pair", [])})
        can = model["can"] | {"draw": False, "impute": False, "decode": False}
        return found | {
            "model": model
            | {
                "items": shown | {"count": n},
                "labels": known,
                "can": can,
                "latents": self.active,
                "pairs": paired,
            }
        }

    def _planes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The planes by their keys, and how they are asked for."""
        for plane in self.model["planes"]:
            if plane["id"] != "pair":
                yield plane["id"], {"plane": plane["id"]}
                continue
            chosen = sorted(latent["index"] for latent in self.active[:PAIRED])
            for first in chosen:
                for second in chosen:
                    if first < second:
                        name = f"pair:{first}:{second}"
                        yield name, {"plane": "pair", "first": first, "second": second}

    def _plane(
        self, request: dict[str, Any], n: int, side: int, given: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """A plane with n data, and its decoded points for each label."""
        answers = {_key(y): self.ask("plane", request | y | {"side": side}) for y in given}
        first = next(iter(answers.values()))
        return first | {
            "pair": [request[name] for name in ("first", "second") if name in request],
            "points": first["points"][:n],
            "tiles": {key: answer["tiles"] for key, answer in answers.items()},
        }

    def _traversal(self, given: dict[str, Any]) -> dict[str, Any]:
        """Decoded values of each latent, with the others at their average."""
        z = [self.model["start"]]
        space = self.model["space"]
        for latent in self.active:
            z += self._moved(latent, **space)
        return {"z": z, **self.ask("decode", {"z": z, "small": True, **given})}

    def _moved(
        self, latent: dict[str, Any], kind: str, groups: int, radius: float
    ) -> Iterator[list[float]]:
        """The average with a latent at each of its values."""
        index, start = latent["index"], self.model["start"]
        size = len(start) // groups
        if kind == "one-hot":
            begin = index // size * size
            z = list(start)
            z[begin : begin + size] = [float(i == index) for i in range(begin, begin + size)]
            yield z
            return
        steps = 2 if kind == "binary" else STEPS
        for step in range(steps):
            value = latent["low"] + (latent["high"] - latent["low"]) * step / (steps - 1)
            z = list(start)
            if kind in ("sphere", "ball"):
                rest = sum(z[i] ** 2 for i in range(len(z)) if i != index) ** 0.5
                room = max(0.0, radius**2 - value**2) ** 0.5
                if kind == "ball":
                    room = min(room, rest)
                even = room / (len(z) - 1) ** 0.5
                z = [own / rest * room if rest > 1e-6 else even for own in z]
            z[index] = value
            yield z

    def _data(self, n: int) -> dict[str, Any]:
        """The data, their reconstructions, posteriors and evidence."""
        explorer, items = self.explorer, self.explorer.items
        y = None if items.y is None else items.y[:n].to(explorer.vae.device)
        x = items.x[:n].to(explorer.vae.device)
        with explorer.lock:
            again = explorer.vae.reconstruct(x, y)
        numbers = ("mean", "stddev", "z", "classified")
        found = {
            "x": explorer.frames.pack(x),
            "thumbnails": explorer.frames.pack(x, 32),
            "reconstructions": explorer.frames.pack(again),
            "data": [{name: own[name] for name in numbers} for own in self.posteriors[:n]],
            "evidence": None,
            "scores": None,
        }
        if self.model["can"]["evidence"]:
            self.evidence = self.evidence or explorer.evidence(x, y)
            known = self.evidence[:n]
            found["evidence"] = known
            found["scores"] = {
                "samples": self.model["samples"]["score"],
                "total": n,
                "log_prob": [one["score_log_prob"] for one in known],
                "pareto_k": [one["pareto_k"] for one in known],
                "error": None,
            }
        return found


def _key(given: dict[str, Any]) -> str:
    return f":{given['y']}" if given else ""
