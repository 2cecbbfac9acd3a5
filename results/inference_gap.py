"""How near the ELBO comes to log p(x) if draws follow the gradient of log p(x, z).

    PVAE_DATA=DIR python -m results.inference_gap [fixed joint ais]

DIR holds MNIST, or it is downloaded there. The model and its budget are those of
`results.evidence`: 784-400-20 ReLU, Bernoulli, standard normal prior; 30,000 images, dynamically
binarized, 12 epochs at batch 100, Adam at 1e-3, seed 0, the weights of the last epoch.

=====  =========================================================================================
part   what is trained
=====  =========================================================================================
fixed  the decoder is that of `results.evidence`, and only the posterior is trained, for 4 epochs
       from its encoder: all posteriors bound the same log p(x)
joint  decoder and posterior together, from the beginning
ais    nothing: log p(x) of the fixed decoder by annealed importance sampling
=====  =========================================================================================

The first 100 test images, binarized once by seed 0. The ELBO is by 100 draws; log p(x) by 1,000
importance samples from the normal that is refined for each image, whichever the posterior, and,
for the fixed decoder, by annealed importance sampling of 16 chains in 500 steps as well. A step of
training is the median of the epochs, in processor time, compiled.

Results are written to inference_gap.json as they come; those of a part replace its earlier ones.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

import pvae
from pvae.data import Dataset
from pvae.evaluation import ais, inference_gap
from pvae.networks import MLP
from pvae.posteriors import DAIS, DiagonalNormal, Hamiltonian
from results import evidence
from results.evidence import TRAINING, by_elbo, with_error
from results.frame import first_images, fit, run_parts, test_images

LATENT_DIM = 20
POSTERIOR_EPOCHS = 4
POSTERIORS: dict[str, Callable[..., Any]] = {
    "DiagonalNormal": DiagonalNormal,
    "DAIS, 5 steps": partial(DAIS, steps=5),
    "DAIS, 10 steps": partial(DAIS, steps=10),
    "Hamiltonian, 5 steps": partial(Hamiltonian, steps=5),
}
JOINT = ("DAIS, 5 steps",)


def train(vae: pvae.VAE, data: Dataset, epochs: int) -> float:
    """Train what has gradients, and return the milliseconds of a step."""
    ends: list[float] = []

    def note_the_time(history: pvae.training.History) -> bool:
        ends.append(time.process_time())
        return False  # training goes on

    fit(
        vae,
        first_images(data, TRAINING["training_images"]),
        epochs=epochs,
        batch_size=TRAINING["batch_size"],
        compile=True,
        seed=TRAINING["seed"],
        pause=note_the_time,
    )
    seconds = statistics.median(end - start for start, end in pairwise(ends))
    return 1000 * seconds * TRAINING["batch_size"] / TRAINING["training_images"]


def log_prob(vae: pvae.VAE, x: Tensor) -> float:
    """The mean of log p(x), from the normal of the encoder, refined."""
    normal = DiagonalNormal(vae.event_shape, LATENT_DIM, network=vae.posterior.network)
    plain = pvae.VAE(vae.prior, vae.likelihood, normal)
    return inference_gap(plain, x, progress=False).log_prob.mean().item()


def bound(vae: pvae.VAE, x: Tensor, log_p: float) -> dict[str, float]:
    """The ELBO of a posterior, and its gap."""
    elbo = by_elbo(vae, x)
    return {
        "elbo": elbo["mean"],
        "elbo_standard_error": elbo["standard_error"],
        "log_prob": log_p,
        "gap": log_p - elbo["mean"],
    }


def first() -> tuple[pvae.VAE, Dataset, Tensor]:
    """The model of `results.evidence`, with its decoder fixed, the data and the test images."""
    data = pvae.data.load("mnist", validation=0)
    vae = evidence.train(data)
    vae.likelihood.requires_grad_(False)
    return vae, data, test_images(vae, data, evidence.IMAGES)


def fixed(folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Every posterior for the decoder that was trained with an encoder alone."""
    vae, data, x = first()
    log_p = log_prob(vae, x)
    yield "the encoder", bound(vae, x, log_p)
    for name, make in POSTERIORS.items():
        encoder = copy.deepcopy(vae.posterior.network)
        posterior = make(data.event_shape, LATENT_DIM, network=encoder)
        other = pvae.VAE(vae.prior, vae.likelihood, posterior)
        step = train(other, data, POSTERIOR_EPOCHS)
        yield name, {**bound(other, x, log_p), "milliseconds": step}


def joint(folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Decoders trained with their posteriors, each with a log p(x) of its own."""
    data = pvae.data.load("mnist", validation=0)
    for name in JOINT:
        vae = pvae.build(
            data.event_shape,
            LATENT_DIM,
            posterior=POSTERIORS[name],
            network=partial(MLP, hidden=[400]),
            seed=TRAINING["seed"],
        )
        step = train(vae, data, TRAINING["epochs"])
        x = test_images(vae, data, evidence.IMAGES)
        yield name, {**bound(vae, x, log_prob(vae, x)), "milliseconds": step}


def annealed(folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Log p(x) of the fixed decoder, which no posterior has a part in."""
    vae, _, x = first()
    yield "16 chains, 500 steps", with_error(ais, vae, x, num_chains=16, num_steps=500)


PARTS = {"fixed": fixed, "joint": joint, "ais": annealed}


def main() -> None:
    """Measure, print, and write the JSON."""
    results = run_parts(__doc__, PARTS, "inference_gap.json")
    for part in ("fixed", "joint"):
        print(f"\n{part:<24}{'ELBO':>10}{'log p(x)':>10}{'gap':>8}{'ms a step':>11}")
        for name, row in results.get(part, {}).items():
            numbers = f"{row['elbo']:10.2f}{row['log_prob']:10.2f}{row['gap']:8.2f}"
            print(f"{name:<24}{numbers}{row.get('milliseconds', float('nan')):11.1f}")


if __name__ == "__main__":
    main()
