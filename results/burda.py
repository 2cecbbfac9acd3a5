"""Table 1 of Burda, Grosse and Salakhutdinov (2016), one stochastic layer, on MNIST.

    PVAE_DATA=DIR python -m results.burda --budget 0.01 [--rows VAE-1 IWAE-50] [--runs RUNS]

The paper's protocol: 50 latents, two layers of 200 tanh units each way, stochastic binarization,
Glorot's initialization, a decoder that starts at the mean of the data; minibatches of 20, Adam with
epsilon 1e-4, and 3^i epochs at a rate of 1e-3 · 10^(-i/7) for i = 0 ... 7, 3,280 in all. The NLL is
by 5,000 importance samples for each of the 10,000 test images, binarized once.

A budget is a fraction of the schedule: at 0.01 each stage has a hundredth of its epochs, 33 in all,
and an epoch has the rate of the stage that holds its middle. The table of a short run is not the
paper's. An interrupted run is resumed, and a finished one is not repeated.
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path

import torch
from pyro.infer import Trace_ELBO
from torch.optim.lr_scheduler import LambdaLR

import pvae
from pvae.evaluation import active_units, log_likelihood
from pvae.networks import MLP
from pvae.objectives import ImportanceWeighted
from results.frame import fit, read, save, test_images
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
STAGES = 8
EPOCHS = sum(3**i for i in range(STAGES))  # 3,280
NUM_SAMPLES = 5000

ROWS = {  # objective, NLL in the paper, active units where it gives them
    "VAE-1": (Trace_ELBO, 86.76, 19),
    "VAE-5": (partial(Trace_ELBO, num_particles=5, vectorize_particles=True), 86.47, None),
    "VAE-50": (partial(Trace_ELBO, num_particles=50, vectorize_particles=True), 86.35, None),
    "IWAE-5": (partial(ImportanceWeighted, 5), 85.54, 22),
    "IWAE-50": (partial(ImportanceWeighted, 50), 84.78, 25),
}

NETWORK = partial(MLP, hidden=[200, 200], activation="tanh", initialization="glorot")


class Stages(LambdaLR):
    """The paper's rates, in a schedule of any number of epochs."""

    def __init__(self, optimizer: torch.optim.Optimizer, epochs: int) -> None:
        super().__init__(optimizer, partial(_rate, epochs=epochs))


def _rate(epoch: int, epochs: int) -> float:
    position = (min(epoch, epochs - 1) + 0.5) * EPOCHS / epochs
    stage = int(math.log(2 * position + 1, 3))  # stage i ends after (3^(i+1) - 1) / 2 epochs
    return 10 ** (-stage / 7)


def train(name: str, epochs: int, seed: int, folder: Path, data: pvae.data.Dataset) -> pvae.VAE:
    """Train a row's model, or resume its run."""
    vae = pvae.build(data.event_shape, 50, network=NETWORK, seed=seed)
    fit(
        vae,
        data,
        epochs=epochs,
        batch_size=20,
        objective=ROWS[name][0](),
        optimizer=partial(torch.optim.Adam, lr=1e-3, eps=1e-4),
        scheduler=partial(Stages, epochs=epochs),
        compile=True,
        seed=seed,
        run=folder,
        resume=folder.exists(),
        progress=True,
    )
    return vae


def evaluate(vae: pvae.VAE, data: pvae.data.Dataset, seed: int) -> dict[str, float]:
    """NLL with its standard error over draws, ELBO and active units on the test images."""
    x = test_images(vae, data, len(data.test))
    figures = pvae.evaluation.evaluate(vae, data, seed=seed)
    began = time.monotonic()
    found = log_likelihood(vae, x, num_samples=NUM_SAMPLES, seed=seed)
    return {
        "nll": round(-found.log_prob.mean().item(), 3),
        "nll_standard_error": round(found.mean_error, 4),
        "effective_sample_size": round(found.effective_sample_size.median().item(), 1),
        "neg_elbo": round(figures["neg_elbo"], 3),
        "active_units": active_units(vae, x).count,
        "nll_s": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Train and evaluate what is missing, print the table, and write it as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=1.0, help="fraction of the schedule")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/burda"), help="where runs are kept")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file of the table")
    options = parser.parse_args()
    if not 0 < options.budget <= 1:
        parser.error(f"--budget is {options.budget}: give a fraction of the schedule, up to 1.")
    epochs = max(1, round(EPOCHS * options.budget))
    data = pvae.data.load("mnist", validation=0)
    for name in options.rows:
        key = {"row": name, "epochs": epochs, "seed": options.seed}
        if any(key.items() <= row.items() for row in read(options.out, [])):
            continue
        folder = options.runs / f"{name}-{epochs}-{options.seed}"
        vae = train(name, epochs, options.seed, folder, data)
        history = pvae.training.Run(folder).history
        row = {
            **key,
            "budget": round(epochs / EPOCHS, 4),
            **evaluate(vae, data, options.seed),
            "training_s": round(history["seconds"][-1], 1),
            "paper_nll": ROWS[name][1],
            "paper_active_units": ROWS[name][2],
            "machine": machine(),
        }
        # Read again: other rows may be trained at the same time.
        save(options.out, [*read(options.out, []), row])
    show(read(options.out, []))


def show(rows: list[dict]) -> None:
    """Print the table, as results/README.md has it."""
    print("| | epochs of 3,280 | seed | NLL | paper | active units | paper | training, s |")
    print("|---|---|---|---|---|---|---|---|")
    for r in sorted(rows, key=lambda r: (r["epochs"], [*ROWS].index(r["row"]), r["seed"])):
        nll = f"{r['nll']:.2f} ± {r['nll_standard_error']:.2f}"
        cells = (r["row"], r["epochs"], r["seed"], nll, r["paper_nll"])
        units = (r["active_units"], r["paper_active_units"] or "", round(r["training_s"]))
        print("| " + " | ".join(map(str, cells + units)) + " |")


if __name__ == "__main__":
    main()
