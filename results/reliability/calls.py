"""Wrong calls: of functions and commands of pvae, with one argument of a wrong type."""

import inspect
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

import pvae
from pvae.cli import film, gallery
from results.reliability.watch import Outcome, attempt, command

WRONG: dict[str, Any] = {
    "None": None,
    "True": True,
    "-1": -1,
    "0": 0,
    "2.5": 2.5,
    "2**70": 2**70,
    "10**9": 10**9,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "-0.5": -0.5,
    "an empty string": "",
    "a string": "text",
    "bytes": b"text",
    "an empty list": [],
    "a list": [1, 2],
    "a list of strings": ["a", "b"],
    "a dict": {"a": 1},
    "a set": {1},
    "an object": object(),
    "a class": dict,
    "a function": print,
    "a lambda": lambda *_, **__: None,
    "an array": np.ones((4, 1, 8, 8)),
    "an array of bytes": np.full((4, 1, 8, 8), 200, dtype=np.uint8),
    "a NumPy number": np.float32(0.5),
    "a tensor": torch.ones(4, 1, 8, 8),
    "a tensor of bytes": torch.full((4, 1, 8, 8), 200, dtype=torch.uint8),
    "a tensor of NaN": torch.full((4, 1, 8, 8), torch.nan),
    "a tensor of another shape": torch.ones(4, 3),
    "an empty tensor": torch.ones(0, 1, 8, 8),
    "a sparse tensor": torch.ones(4, 1, 8, 8).to_sparse(),
    "a complex tensor": torch.ones(4, 1, 8, 8, dtype=torch.cfloat),
    "a scalar tensor": torch.tensor(2),
    "a module": torch.nn.Linear(2, 2),
    "a class of modules": torch.nn.Linear,
    "a prior": pvae.priors.StandardNormal(2),
    "a class of priors": pvae.priors.Normal,
    "a class of likelihoods": pvae.likelihoods.Gaussian,
    "an instance of a network": pvae.networks.MLP((2,), (3,)),
    "a class of ELBOs": pyro.infer.Trace_ELBO,
    "an ELBO": pyro.infer.Trace_ELBO(),
    "an optimizer of Pyro": pyro.optim.Adam({"lr": 1e-3}),
    "an optimizer of torch": torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]),
    "a partial": partial(torch.optim.Adam, lr="fast"),
    "a distribution": pyro.distributions.Normal(0, 1),
    "a device": torch.device("meta"),
}
VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
TYPED = ("-1", "0", "2.5", "nan", "inf", "1e400", "9" * 30, "", "text", "[]", "[1,2]", "null")
TYPED += ("{}", "{a: 1}", "true", "a.b.C", "os.system", "../x", "\x00", "ä", "x" * 5000, "--")


def _vae(**options: Any) -> pvae.VAE:
    pyro.set_rng_seed(0)
    network = partial(pvae.networks.MLP, hidden=[4])
    return pvae.build((1, 8, 8), **{"latent_dim": 2, "network": network} | options)


def _digits() -> pvae.data.Dataset:
    return pvae.data.load("digits", test=0.8)


def _x() -> torch.Tensor:
    return torch.ones(4, 1, 8, 8)


def _valid_calls() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Valid calls, of which one argument will be replaced."""
    evaluation, vae, x = pvae.evaluation, _vae(), _x()
    labelled = _vae(conditional=True, classes=10)
    fast = {"epochs": 1, "compile": False, "device": "cpu", "progress": False}
    of = {"vae": vae, "x": x}
    calls: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "build": (pvae.build, {"event_shape": (1, 8, 8), "latent_dim": 2}),
        "fit": (pvae.fit, {"vae": vae, "data": _digits()} | fast),
        "load": (pvae.load, {"run": "nowhere"}),
        "data.load": (pvae.data.load, {"data": np.ones((20, 3))}),
        "refit_prior": (
            pvae.refit_prior,
            {"vae": vae, "data": _digits(), "prior": pvae.priors.Normal} | {"epochs": 1},
        ),
        "VAE": (pvae.VAE, dict(vae.named_children())),
        "encode": (vae.encode, {"x": x}),
        "decode": (vae.decode, {"z": torch.zeros(3, 2)}),
        "reconstruct": (vae.reconstruct, {"x": x}),
        "sample": (vae.sample, {"n": 3, "seed": 0}),
        "conditional sample": (labelled.sample, {"n": 3, "y": 1}),
        "conditional encode": (labelled.encode, {"x": x, "y": torch.arange(4)}),
        "interpolate": (vae.interpolate, {"x0": x, "x1": x, "steps": 3}),
        "impute": (evaluation.impute, of | {"mask": x.bool(), "num_samples": 5}),
        "denoise": (evaluation.denoise, of | {"num_samples": 5}),
        "refine": (evaluation.refine, of | {"steps": 2}),
        "evaluate": (evaluation.evaluate, {"vae": vae, "data": _digits(), "part": "train"}),
        "log_likelihood": (evaluation.log_likelihood, of | {"num_samples": 5}),
        "ais": (evaluation.ais, of | {"num_chains": 2, "num_steps": 3}),
        "pareto_smoothed": (evaluation.pareto_smoothed, of | {"num_samples": 50}),
        "anomaly_score": (evaluation.anomaly_score, of | {"num_samples": 5}),
        "inference_gap": (evaluation.inference_gap, of),
        "kl_decomposition": (evaluation.kl_decomposition, of),
        "Gaussian": (pvae.likelihoods.Gaussian, {"latent_dim": 2, "event_shape": (3,)}),
        "Mixture": (pvae.priors.Mixture, {"latent_dim": 2, "components": 3}),
        "VampPrior": (pvae.priors.VampPrior, {"latent_dim": 2, "components": 3}),
        "Flow": (pvae.priors.Flow, {"latent_dim": 2, "layers": 2}),
        "DiagonalNormal": (
            pvae.posteriors.DiagonalNormal,
            {"event_shape": (3,), "latent_dim": 2},
        ),
        "MLP": (pvae.networks.MLP, {"in_shape": (3,), "out_shape": (2,), "hidden": [4]}),
        "Conv": (
            pvae.networks.Conv,
            {"in_shape": (1, 8, 8), "out_shape": (2,), "channels": [4]},
        ),
        "BetaELBO": (pvae.objectives.BetaELBO, {"beta": 0.5}),
        "FreeBits": (pvae.objectives.FreeBits, {}),
        "ImportanceWeighted": (pvae.objectives.ImportanceWeighted, {"num_samples": 5}),
        "CompiledSVI": (
            pvae.inference.CompiledSVI,
            {"model": vae.model, "guide": vae.guide}
            | {"optim": pyro.optim.Adam({"lr": 1e-3}), "loss": pyro.infer.Trace_ELBO()},
        ),
        "plots.samples": (pvae.plots.samples, {"x": x}),
        "plots.reconstructions": (pvae.plots.reconstructions, {"x": x, "reconstructed": x}),
    }
    return calls


class Calls:
    """The campaign: one wrong call."""

    name = "calls"
    count = 300
    each = 1

    def prepare(self, folder: Path) -> None:
        """Train a run for the commands, and list the calls."""
        gallery.plot = film.plot = lambda *_, **__: []  # pictures only take time
        self.run = folder / "run"
        options = "--latent_dim 2 --epochs 1 --compile false --device cpu --run"
        command("train", *options.split(), str(self.run))
        self.calls = [*_valid_calls()]

    def attack(self, number: int, folder: Path) -> tuple[str, Outcome]:
        """Make one call with one wrong argument; every third number is a command."""
        rng = random.Random(number)
        if number % 3 == 2:
            argv = _wrong_command(rng, str(self.run))
            return f"pvae {' '.join(argv)}"[:120], attempt(partial(command, *argv), folder)
        name = self.calls[number % len(self.calls)]
        function, arguments = _valid_calls()[name]
        parameters = inspect.signature(function).parameters.values()
        wrong = rng.choice([p.name for p in parameters if p.kind not in VARIADIC])
        what = rng.choice([*WRONG])
        call = partial(_called, function, arguments | {wrong: WRONG[what]})
        return f"{name}({wrong}={what})", attempt(call, folder)


def _called(function: Callable[..., Any], arguments: dict[str, Any]) -> str:
    return type(function(**arguments)).__name__


def _wrong_command(rng: random.Random, run: str) -> list[str]:
    from pvae.cli.commands import COMMANDS

    chosen = rng.choice(COMMANDS)
    quick = {"train": ["--epochs", "1"], "evaluate": ["--estimator", "elbo"]}
    argv = [chosen.__name__, *([] if chosen.__name__ == "train" else [run])]
    argv += quick.get(chosen.__name__, [])
    option = rng.choice([*inspect.signature(chosen).parameters])
    return [*argv, f"--{option}", rng.choice(TYPED)]
