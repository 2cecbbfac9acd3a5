"""Training that is killed at random moments and resumed: it must end with the same bits."""

import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyro
import torch
from PIL import Image
from torch.optim import lr_scheduler

import pvae
from pvae import objectives
from pvae.data.image_folder import RESIDENT_LIMIT
from pvae.training import Run, writer
from results.reliability.watch import Outcome, attempt, silence, working_in

KILLS = 4  # of each run
SIGNALS = (*[signal.SIGKILL] * 8, signal.SIGINT, signal.SIGTERM)
BETWEEN_CHECKPOINTS = 0.02  # seconds: so short that many kills interrupt one
LONGEST = 120.0  # seconds until a run hangs


@dataclass
class Configuration:
    """What is trained, and how.

    Attributes:
        parts: of `pvae.build`.
        options: of `pvae.fit`.
        data: of `pvae.data.load`.
        objective: called without arguments.
        streamed: whether the data are images that are decoded as they are drawn.
        waiting: whether an empty run folder exists before.
    """

    parts: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    objective: Callable[[], Any] | None = None
    streamed: bool = False
    waiting: bool = False


CONFIGURATIONS = {
    "MLP": Configuration(options={"clip_norm": 1.0}),
    "convolutional": Configuration(
        {
            "network": partial(pvae.networks.Conv, channels=[4], hidden=8),
            "likelihood": partial(pvae.likelihoods.Gaussian, scale="learned"),
        }
    ),
    "conditional": Configuration({"conditional": True, "classes": 10}, waiting=True),
    "VampPrior": Configuration({"prior": partial(pvae.priors.VampPrior, components=5)}),
    "KL warm-up": Configuration(
        objective=partial(objectives.BetaELBO, beta=2.0, warmup_steps=50),
        options={"optimizer": partial(torch.optim.AdamW, weight_decay=0.01)},
    ),
    "schedule": Configuration(
        options={
            "optimizer": partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
            "scheduler": partial(lr_scheduler.ReduceLROnPlateau, patience=1),
        }
    ),
    "IWAE": Configuration(objective=partial(objectives.ImportanceWeighted, num_samples=5)),
    "static binarization": Configuration(
        data={"binarization": "static"},
        options={"scheduler": partial(lr_scheduler.StepLR, step_size=2)},
    ),
    "FactorVAE": Configuration(objective=partial(objectives.FactorVAE, latent_dim=2, hidden=(8,))),
    "early stopping": Configuration(
        options={"patience": 1, "epochs": 30, "optimizer": partial(torch.optim.Adam, lr=0.05)}
    ),
    "streamed images": Configuration(streamed=True),
}


class Kills:
    """The campaign: one run, killed several times.

    Args:
        names: the configurations, by default all.
    """

    name = "kills"
    count = 220
    each = KILLS

    def __init__(self, *names: str) -> None:
        self.configurations = {name: CONFIGURATIONS[name] for name in names or CONFIGURATIONS}

    def prepare(self, folder: Path) -> None:
        """Draw the images, and train each configuration without a kill."""
        pictures = np.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=np.uint8)
        self.pictures = folder / "pictures"
        self.pictures.mkdir()
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(self.pictures / f"{i:03d}.png")
        self.expected, self.seconds = {}, {}
        for name, configuration in self.configurations.items():
            (folder / name).mkdir()
            with working_in(folder / name):
                began = time.monotonic()
                self.expected[name] = self._whole(configuration)
                self.seconds[name] = time.monotonic() - began

    def attack(self, number: int, folder: Path) -> tuple[str, Outcome]:
        """Train one configuration, kill it several times, and compare."""
        rng = random.Random(number)
        name = list(self.configurations)[number % len(self.configurations)]
        configuration = self.configurations[name]
        run, began = folder / "run", time.monotonic()
        left = self.each
        while left:
            if configuration.waiting and not run.exists():
                run.mkdir()
            if self._killed(name, folder, rng):
                left -= 1
            elif left:  # it finished: train again
                outcome = self._compare(name, configuration, folder)
                if not outcome.held:
                    break
                shutil.rmtree(run)
        else:
            outcome = self._compare(name, configuration, folder)
        outcome.attacks, outcome.seconds = self.each, time.monotonic() - began
        return name, outcome

    def _compare(self, name: str, configuration: Configuration, folder: Path) -> Outcome:
        """Finish a run, and compare it with one that was never killed."""
        outcome = attempt(partial(self._whole, configuration), folder, LONGEST)
        if outcome.kind == "returned":
            different = [k for k, v in self.expected[name].items() if outcome.said.get(k) != v]
            outcome.said = ", ".join(different)
            kinds = {"": "returned equal bits", "left over": "left files behind"}
            outcome.kind = kinds.get(outcome.said, "silently different")
        elif outcome.kind == "refused":
            outcome.kind = "could not resume"
        return outcome

    def _killed(self, name: str, folder: Path, rng: random.Random) -> bool:
        """Train or resume, and kill it at a random moment or write, unless it ends before."""
        kind, writes = rng.choice(SIGNALS), rng.choice((None, "fsync", "replace"))
        moment, write = rng.uniform(0, self.seconds[name]), rng.randrange(80)
        child = os.fork()
        if not child:
            silence(folder)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            counted = _deadly(writes, write, kind) if writes else itertools.count()
            with contextlib.suppress(BaseException):
                self._train(self.configurations[name])
            os._exit(next(counted) > write)  # an interrupted one ends by itself
        if not writes:
            time.sleep(moment)
            if os.waitpid(child, os.WNOHANG)[0]:
                return False
            os.kill(child, kind)
        return os.waitpid(child, 0)[1] != 0 or not writes

    def _whole(self, configuration: Configuration) -> dict[str, str]:
        """Train to the end, and return digests of what the run folder holds."""
        self._train(configuration)
        run = Run("run")
        state = torch.load("run/state.pt", weights_only=True)
        state["position"].pop("seconds")
        rows = [{k: v for k, v in r.items() if k != "seconds"} for r in run.history.rows]
        state["position"]["rows"] = rows
        weights = ("weights.safetensors", "last.safetensors", *run.snapshots.values())
        found = {n: hashlib.sha256((run.path / n).read_bytes()).hexdigest() for n in weights}
        found["metrics"] = json.dumps(rows)
        found["stopped"] = run.info["stopped"]
        found["state"] = _digest(state)
        found["left over"] = str(sorted(p.name for p in Path().rglob(".*")))
        return found

    def _train(self, configuration: Configuration) -> None:
        """Train in the folder ``run``, or resume a run that was begun there."""
        limit = 0 if configuration.streamed else RESIDENT_LIMIT
        with patch.object(pvae.data.image_folder, "RESIDENT_LIMIT", limit):
            named = "digits", {"test": 0.8, **configuration.data}
            data, options = (self.pictures, {}) if configuration.streamed else named
            loaded = pvae.data.load(data, **options)
        pyro.set_rng_seed(0)
        network = partial(pvae.networks.MLP, hidden=[8])
        vae = pvae.build(loaded.event_shape, 2, **{"network": network} | configuration.parts)
        try:
            Run("run")
            begun = True
        except FileNotFoundError:
            begun = False
        objective = configuration.objective and configuration.objective()
        fixed = {"compile": False, "device": "cpu", "progress": False, "batch_size": 32}
        options = {"epochs": 5, "run": "run", "resume": begun} | fixed | configuration.options
        with patch.object(writer, "SECONDS_BETWEEN_CHECKPOINTS", BETWEEN_CHECKPOINTS):
            pvae.fit(vae, loaded, objective=objective, **options)


def _deadly(function: str, number: int, kind: signal.Signals) -> Iterator[int]:
    """Send a signal to this process just before one call of a function of `os`."""
    original, calls = getattr(os, function), itertools.count()

    def deadly(*arguments: Any) -> None:
        if next(calls) == number:
            os.kill(os.getpid(), kind)
        original(*arguments)

    setattr(os, function, deadly)
    return calls


def _digest(content: Any) -> str:
    """A digest of nested dicts, lists, tensors and numbers."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.update(repr((value.dtype, value.shape)).encode() + value.numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                found.update(repr(key).encode())
                add(value[key])
        elif isinstance(value, (list, tuple)):
            for item in value:
                add(item)
        else:
            found.update(repr(value).encode())

    add(content)
    return found.hexdigest()
