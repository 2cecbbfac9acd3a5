"""Measures the defaults of training, and writes results/defaults.json.

    PVAE_DATA=DIR python -m results.defaults [--frey FILE] [--cells FILE ...]

Three questions, each on small data, of three seeds: does a warm-up of the KL keep latents in use;
what do dropout and weight decay change on data sets that are memorized; how many epochs may pass
without improvement before training stops. The last is computed from the curves of the others, which
are trained to their end and kept in the file. A run that is in the file is not run again. DIR holds
MNIST; the Frey faces and single cells (AnnData files of counts, of which the 2,000 most variable
genes are taken) are left out without their files. About 40 minutes of one core.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pvae
from pvae import likelihoods, objectives, posteriors, priors
from pvae.data.batches import batches_for
from results.frame import read, save
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
SEEDS = (0, 1, 2)
SHARES = (0.0, 0.1, 0.25, 0.5)  # of the steps, in which the KL warms up
GENES = 2000
SPHERE = {"prior": priors.Hyperspherical, "posterior": posteriors.PowerSpherical}
ONE_HOT = {"prior": priors.OneHot, "posterior": posteriors.RelaxedOneHot}
BINARY = {"prior": priors.Bernoulli, "posterior": posteriors.RelaxedBernoulli}
CATALOGUE: dict[str, tuple[dict[str, Any], Any]] = {
    "default": ({}, None),
    "conditional": ({"conditional": True, "classes": 10}, None),
    "conditional prior": ({"conditional": ["prior", "likelihood"], "classes": 10}, None),
    "Gaussian": ({"likelihood": partial(likelihoods.Gaussian, scale="learned")}, None),
    "Mixture": ({"prior": priors.Mixture}, None),
    "VampPrior": ({"prior": partial(priors.VampPrior, components=50)}, None),
    "Flow": ({"prior": priors.Flow}, None),
    "LowRankNormal": ({"posterior": posteriors.LowRankNormal}, None),
    "IAF": ({"posterior": posteriors.InverseAutoregressiveFlow}, None),
    "Laplace": ({"prior": priors.Laplace, "posterior": posteriors.Laplace}, None),
    "sphere": (SPHERE, None),
    "one-hot": (ONE_HOT, None),
    "bits": (BINARY, None),
    "IWAE": ({}, partial(objectives.ImportanceWeighted, 5)),
    "beta 4": ({}, partial(objectives.BetaELBO, 4.0)),
    "free bits": ({}, objectives.FreeBits),
}


def data_sets(options: argparse.Namespace) -> dict[str, tuple[Any, dict[str, Any], int]]:
    """The data, what a VAE of them is built of, and the epochs."""
    held: dict[str, tuple[Any, dict[str, Any], int]] = {
        "digits": (pvae.data.load("digits"), {}, 100),
    }
    gaussian = {"likelihood": partial(likelihoods.Gaussian, scale="learned")}
    try:
        x = pvae.data.load("mnist").train.x[:3000]
        held["MNIST, 3,000"] = (pvae.data.load(x), {"latent_dim": 20}, 60)
    except OSError:
        print("MNIST is left out: PVAE_DATA does not hold it.")
    if options.frey:
        held["frey faces"] = (pvae.data.load(options.frey), gaussian | {"latent_dim": 20}, 60)
    if options.cells:
        counts = pvae.data.load(cells(options.cells))
        held["cells"] = (counts, {"likelihood": likelihoods.NegativeBinomial}, 200)
    return held


def cells(paths: list[Path]) -> np.ndarray:
    """Counts of the genes that all files have, the most variable ones."""
    import h5py

    tables = []
    for path in paths:
        with h5py.File(path) as file:
            names = [name.decode() for name in file["var"]["index"][:]]
            tables.append(dict(zip(names, file["X"][:].T, strict=True)))
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    x = np.concatenate([np.stack([table[name] for name in shared], 1) for table in tables])
    chosen = np.sort(np.argsort(-np.log1p(x).var(0), kind="stable")[:GENES])
    return x[:, chosen].round().astype(np.int64)


def runs(held: dict[str, tuple[Any, dict[str, Any], int]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every run, the most informative first: its name, and its settings."""
    for seed in SEEDS:
        for name in held:
            for share in SHARES:
                yield f"warm-up/{name}/default/{share}/{seed}", {"share": share}
        for share in SHARES:
            yield f"warm-up/digits/conditional/{share}/{seed}", {"share": share}
        for name in held:
            for dropout, decay in ((0.1, 0.0), (0.0, 0.05), (0.1, 0.05), (0.3, 0.0), (0.5, 0.0)):
                regularized = {"dropout": dropout, "decay": decay, "share": 0.1}
                yield f"network/{name}/{dropout}/{decay}/{seed}", regularized
        for part in CATALOGUE:
            for share in (0.0, 0.1):
                yield f"warm-up/digits/{part}/{share}/{seed}", {"share": share, "epochs": 60}


def train(name: str, how: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    """Train to the end; return the figures of the best epoch, and the curve of the monitor."""
    kind, data_name, part, *_ = name.split("/")
    data, sizes, epochs = held[data_name]
    epochs = how.get("epochs", epochs)
    arguments, objective = CATALOGUE[part] if kind == "warm-up" else ({}, None)
    network = partial(pvae.networks.MLP, dropout=how.get("dropout", 0.0))
    seed = int(name.rpartition("/")[2])
    built = {"latent_dim": 10, "network": network} | sizes | arguments
    vae = pvae.build(data.event_shape, **built, seed=seed)
    size = 128
    steps = epochs * -(-len(data.train) // size)
    optimizer = torch.optim.Adam
    if how.get("decay"):
        optimizer = partial(torch.optim.AdamW, weight_decay=how["decay"])
    began = time.process_time()
    history = pvae.fit(
        vae,
        data,
        epochs=epochs,
        batch_size=size,
        objective=objective and objective(),
        optimizer=optimizer,
        warmup=round(how["share"] * steps),
        patience=None,
        compile=False,
        seed=seed,
        progress=False,
    )
    x = batches_for(vae, data, data.test).first(1000)
    try:
        active = pvae.evaluation.active_units(vae, *x, progress=False).count
    except (ValueError, NotImplementedError):
        active = None
    test = pvae.evaluation.evaluate(vae, data)
    return {
        "test": {key: round(value, 3) for key, value in test.items()},
        "active": active,
        "latents": vae.latent_shape.numel(),
        "best": history.best_epoch,
        "epochs": epochs,
        "warmup_epochs": how["share"] * epochs,
        "seconds": round(time.process_time() - began, 1),
        "curve": [round(value, 3) for value in history[history.monitor]],
    }


def stopped(curve: list[float], patience: int, after: float) -> tuple[int, float]:
    """The epochs run under a patience, and how much worse their best is than that of all epochs."""
    best, since = float("inf"), 0
    for epoch, value in enumerate(curve, 1):
        since = 0 if value < best else since + (epoch > after)
        best = min(best, value)
        if since >= patience:
            break
    return epoch, best - min(curve)


def report(found: dict[str, Any]) -> None:
    """Print the tables."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, row in found.items():
        groups.setdefault(name.rpartition("/")[0], []).append(row)
    for name, rows in sorted(groups.items()):
        values = [row["test"]["neg_elbo"] for row in rows]
        kl = statistics.mean(row["test"]["kl"] for row in rows)
        active = [row["active"] for row in rows if row["active"] is not None]
        used = f"{statistics.mean(active):.1f} of {rows[0]['latents']}" if active else "-"
        spread = f"± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        print(f"{name:<45}{statistics.mean(values):>10.2f} {spread:<9} KL {kl:6.2f}  used {used}")
    print("patience: epochs run of those planned, nats lost (mean, most)")
    for fewest, share in ((10, 0.1), (10, 0.2), (20, 0.2), (10, 0.3), (10, 0.5)):
        taken, lost = [], []
        for row in found.values():
            patience = max(fewest, round(share * row["epochs"]))
            epochs, worse = stopped(row["curve"], patience, row["warmup_epochs"])
            taken.append(epochs / row["epochs"])
            lost.append(worse)
        print(
            f"  max({fewest}, {share:.0%}): {statistics.mean(taken):.0%} of the epochs, "
            f"{statistics.mean(lost):.3f}, {max(lost):.3f}"
        )


def main() -> None:
    """Train what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frey", type=Path, help="the Frey faces, an .npz file")
    parser.add_argument("--cells", type=Path, nargs="+", help="AnnData files of counts")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="runs whose names contain one of these"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    held = data_sets(options)
    results = read(OUT, {"machine": machine(), "runs": {}})
    for name, how in runs(held):
        if name not in results["runs"] and any(o in name for o in options.only):
            results["runs"][name] = train(name, how, held)
            print(name, results["runs"][name]["test"], results["runs"][name]["seconds"], flush=True)
            save(OUT, results)
    report(results["runs"])


if __name__ == "__main__":
    main()
