"""Hyperbolic and Euclidean latents on data that hang on a tree: distortion and evidence.

python -m results.hyperbolic
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pvae
from pvae.data import tree
from pvae.distributions import PoincareBall
from results import frame

FOLDER = Path(__file__).parent
SEEDS = range(3)
CURVATURE = 1.0
EPOCHS = 100


def train(seed: int, curvature: float | None) -> dict[str, float]:
    """Train a VAE of two latents on a tree, and compare distances of its means with the tree's."""
    x, nodes, distances = tree(seed=seed)
    data = pvae.data.load(x, validation=0.1, test=0.1)
    parts: dict[str, Any] = {}
    if curvature is not None:
        parts = {
            "prior": partial(pvae.priors.WrappedNormal, curvature=curvature),
            "posterior": partial(pvae.posteriors.WrappedNormal, curvature=curvature),
        }
    vae = pvae.build(
        data.event_shape,
        latent_dim=2,
        likelihood=partial(pvae.likelihoods.Gaussian, scale="learned"),
        network=partial(pvae.networks.MLP, hidden=[200]),
        seed=seed,
        **parts,
    )
    frame.fit(
        vae, data, epochs=EPOCHS, seed=seed, warmup=500,
        optimizer=partial(torch.optim.Adam, lr=3e-3),
    )  # fmt: skip
    with vae.evaluating():
        means = vae.encode(x).mean
    found = pvae.evaluation.log_likelihood(vae, data.batch(vae, "test"), num_samples=500, seed=0)
    return {
        "distortion": distortion(means, nodes, distances, curvature),
        "log_likelihood": float(found.log_prob.mean()),
    }


def distortion(means: Tensor, nodes: Tensor, distances: Tensor, curvature: float | None) -> float:
    """The mean of |s d(i, j) / edges(i, j) - 1| over all pairs of data of two nodes, at the best s.

    Args:
        means: posterior means.
        nodes: the node of each.
        distances: the edges between nodes.
        curvature: that of the latents; ``None`` for Euclidean ones.
    """
    first, second = torch.triu_indices(len(means), len(means), 1)
    edges = distances[nodes[first], nodes[second]]
    first, second, edges = first[edges > 0], second[edges > 0], edges[edges > 0].double()
    a, b = means[first].double(), means[second].double()
    apart = (a - b).norm(dim=-1) if curvature is None else PoincareBall(curvature).distance(a, b)
    ratio = apart / edges
    # The best scale is the weighted median of 1 / ratio, with weights ratio.
    order = ratio.argsort(descending=True)
    share = ratio[order].cumsum(0) / ratio.sum()
    scale = 1 / ratio[order][int((share < 0.5).sum())]
    return float((scale * ratio - 1).abs().mean())


def main() -> None:
    """Measure Euclidean and hyperbolic latents, and write results/hyperbolic.json."""
    results: dict[str, list[dict[str, float]]] = {}
    for seed in SEEDS:
        for curvature in (None, CURVATURE):
            name = "Euclidean" if curvature is None else f"curvature -{curvature:g}"
            results.setdefault(name, []).append(frame.rounded(train(seed, curvature)))
            print(seed, name, results[name][-1], flush=True)
            frame.save(FOLDER / "hyperbolic.json", results)


if __name__ == "__main__":
    main()
