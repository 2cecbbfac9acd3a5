"""What using a trained model costs: posteriors, samples and scores of 10,000 images.

    python -m results.benchmarks.queries

Each query is timed in turns with the matrix products, or convolutions, that it cannot do without,
in batches of the size that is fastest, and a row has the medians. The first call is timed as well:
a score compiles in it. The images are random, since time does not depend on the values.
"""

# OpenMP reads how threads wait when torch is imported.
import os

from pvae import openmp

os.environ.update(openmp.environment())

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import pvae
from pvae.evaluation import anomaly_score
from results.benchmarks.products import products
from results.machine import machine

IMAGES = 10_000
SAMPLES = 100  # of z for each image, as `pvae score` takes
BATCHES = (50, 100, 250, 500, 1000)
TRIES = 3
OUT = Path(__file__).with_suffix(".json")

MLP = partial(pvae.networks.MLP, hidden=[400])
MODELS: dict[str, Callable[[], pvae.VAE]] = {
    "64-400-10": partial(pvae.build, (1, 8, 8), 10, network=MLP),
    "784-400-20": partial(pvae.build, (1, 28, 28), 20, network=MLP),
    "convolutional, 28 × 28": partial(pvae.build, (1, 28, 28), 20, network=pvae.networks.Conv),
}
Query = Callable[[], object]


def seconds(run: Query) -> float:
    """The time of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def fastest(network: Callable[[int], object]) -> Callable[[int], None]:
    """The products of a network for many rows, in batches of the size that takes least time."""
    steps = {batch: products(partial(network, batch)) for batch in BATCHES}
    cost = {b: min(seconds(step) for _ in range(TRIES)) / b for b, step in steps.items()}
    batch = min(cost, key=lambda b: cost[b])

    def run(rows: int) -> None:
        for _ in range(rows // batch):
            steps[batch]()

    return run


@torch.no_grad()
def measure(vae: pvae.VAE, rounds: int) -> dict[str, dict[str, float]]:
    """Time all queries of a model."""
    vae.eval()
    x = torch.rand(IMAGES, *vae.event_shape).bernoulli()
    latents = vae.p_z().event_shape
    encode = fastest(lambda batch: vae.encode(x[:batch]))
    decode = fastest(lambda batch: vae.decode(torch.randn(batch, *latents)))

    def products_of_scores() -> None:
        encode(IMAGES)
        decode(IMAGES * SAMPLES)

    def score() -> object:
        return anomaly_score(vae, x, num_samples=SAMPLES, progress=False)

    queries: dict[str, tuple[Query, Query]] = {
        "encode": (lambda: vae.encode(x), lambda: encode(IMAGES)),
        "sample": (lambda: vae.sample(IMAGES), lambda: decode(IMAGES)),
        "score": (score, products_of_scores),
    }
    return {name: compare(*pair, rounds) for name, pair in queries.items()}


def compare(query: Query, least: Query, rounds: int) -> dict[str, float]:
    """Time a query and its products in turns, after a first call of each."""
    first = seconds(query)
    least()
    times = [(seconds(query), seconds(least)) for _ in range(rounds)]
    of_query, of_products = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "first_s": round(first, 3),
        "s": round(of_query, 4),
        "products_s": round(of_products, 4),
        "over_products": round(of_query / of_products, 2),
    }


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each query")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options = parser.parse_args()
    torch.manual_seed(0)
    models = {}
    for name in options.models:
        models[name] = measure(MODELS[name](), options.rounds)
        for query, row in models[name].items():
            print(f"{name:24}{query:8}", row, flush=True)
    result = {"images": IMAGES, "samples": SAMPLES, "models": models, "machine": machine()}
    OUT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
