"""Simulated studies of linear-Gaussian cells, whose evidence and true differences are exact.

Each run is a probabilistic PCA x ~ N(0, W Wᵀ + σ² I) (Tipping and Bishop 1999) whose weights its
seed perturbs, as training does; all runs of a study are measured on the same items.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from pvae.studies.measures import Measures
from pvae.studies.metrics import Measured
from pvae.studies.results import collect

D, Q, SEEDS, ITEMS, STUDIES = 6, 2, 5, 300, 400
SPREAD = 0.06  # of the weights, between seeds
TRUTH = np.random.default_rng(5).normal(size=(D, Q))
CELLS = {"reference": 1.0, "same": 1.0, "scaled": 1.3, "shrunk": 0.8}  # of the true weights
MEASURES = Measures(metrics=("log_prob",))


def covariances(rng, scale, *shape):
    weights = scale * TRUTH + SPREAD * rng.normal(size=(*shape, D, Q))
    return weights @ weights.swapaxes(-1, -2) + 0.5 * np.eye(D)


def evidence(covariance, second_moments):
    """log N(x; 0, C) for xxᵀ, or its expectation for E[xxᵀ]."""
    trace = np.einsum("...ij,...ji->...", np.linalg.inv(covariance), second_moments)
    return -0.5 * (D * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] + trace)


@pytest.fixture(scope="module")
def true_means():
    """The expectation over data and seeds of the log evidence of each cell."""
    rng, truth = np.random.default_rng(0), TRUTH @ TRUTH.T + 0.5 * np.eye(D)
    return {
        name: evidence(covariances(rng, scale, 20_000), truth).mean()
        for name, scale in CELLS.items()
    }


def simulated(number):
    """The results of a study."""
    rng = np.random.default_rng([7, number])
    x = rng.multivariate_normal(np.zeros(D), TRUTH @ TRUTH.T + 0.5 * np.eye(D), ITEMS)
    squares = x[:, :, None] * x[:, None, :]
    runs = {
        (name, seed): evidence(covariances(rng, scale), squares)
        for seed in range(SEEDS)
        for name, scale in CELLS.items()
    }

    def measured(job):
        exact = np.zeros(ITEMS)
        arrays = {"log_prob": runs[job.cell, job.seed], "pareto_k": exact, "standard_error": exact}
        costs = {"parameters": 0, "epochs": 0, "steps": 0, "train_seconds": 0}
        return Measured(arrays, costs, "simulated", "densities", "", {})

    plan = SimpleNamespace(
        cells=[SimpleNamespace(name=name) for name in CELLS],
        seeds=range(SEEDS),
        measures=MEASURES,
        baseline="reference",
        steps=None,
        race=False,
    )
    jobs = [SimpleNamespace(cell=name, seed=seed) for name, seed in runs]
    return collect(
        SimpleNamespace(
            plan=plan, notes=[], jobs=lambda: jobs, measured=measured, failure=lambda job: None
        )
    )


@pytest.fixture(scope="module")
def compared():
    """The comparisons of all studies by cell."""
    studies = [simulated(number) for number in range(STUDIES)]
    return {
        name: [c for study in studies for c in study.comparisons if c.cell == name]
        for name in CELLS
        if name != "reference"
    }


@pytest.mark.parametrize("name", ["same", "scaled", "shrunk"])
def test_intervals_cover_the_true_difference(compared, true_means, name):
    truth = true_means[name] - true_means["reference"]
    found = [c.difference.interval for c in compared[name]]
    covered = np.mean([i.low <= truth <= i.high for i in found])
    assert 0.93 <= covered <= 0.97


def test_what_does_not_differ_is_seldom_better(compared):
    said = [c.verdict for c in compared["same"]]
    assert said.count("better") <= 0.05 * STUDIES
    assert said.count("worse") <= 0.05 * STUDIES


def test_what_differs_much_is_found(compared):
    for name in ("scaled", "shrunk"):
        said = [c.verdict for c in compared[name]]
        assert said.count("worse") > 0.5 * STUDIES
        assert said.count("better") == 0
