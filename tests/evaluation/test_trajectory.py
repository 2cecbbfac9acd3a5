from functools import partial

import pytest
import torch

import pvae
from pvae.evaluation import trajectory
from pvae.evaluation.ais import Path, ais, bidirectional
from pvae.evaluation.batching import counted
from pvae.evaluation.trajectory import Trajectories
from pvae.inference.untraceable import Untraceable
from tests.evaluation.test_ais import PRIORS, QUICK, SMALL, sharpened

COUNTS = {
    "learned": partial(pvae.likelihoods.NegativeBinomial, exposure="observed"),
    "predicted": partial(pvae.likelihoods.NegativeBinomial, dispersion="predicted"),
}


@pytest.fixture
def compiled(monkeypatch):
    """Trajectories by plain graphs, without their compilation, in portions of a few rows."""
    runs = []

    def plain(module, tensors, backend, options):
        runs.append(0)
        number = len(runs) - 1

        def run(*given):
            runs[number] += 1
            return module(*given)

        return run

    monkeypatch.setattr(trajectory, "compile_graph", plain)
    monkeypatch.setattr(trajectory, "best_backend", lambda device: "inductor")
    monkeypatch.setattr(trajectory, "MANY", 5)
    return runs


def anneal(vae, x, y=None, like=None, *, gradients=0, threads=1):
    shared = Trajectories(vae, gradients)
    shared._threads = threads
    torch.manual_seed(0)
    with vae.evaluating(), counted(100, False) as shown:
        path = Path(vae, x, y, like, 12, 3, shared)
        path.adapt(4, shown)
        return [*path.run(path.start(4), shown), *path.run(path.start(2), shown, reverse=True)]


def check(runs, vae, *given, threads=1):
    eager = anneal(vae, *given)
    assert not runs
    found = anneal(vae, *given, gradients=1e15, threads=threads)
    assert len(runs) == 2  # graphs, whatever the number of chains, temperatures and passes
    portions = 2 * 11 * -(-4 * len(given[0]) // 5) + 11 * -(-2 * len(given[0]) // 5)
    assert runs == [2 * portions, portions]
    for one, other in zip(found, eager, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["flow", "sphere, unevenly", "nested"])
def test_the_draws_and_decisions_of_eager_chains(kind, compiled):
    torch.manual_seed(0)
    prior, posterior = PRIORS[kind]
    vae = sharpened(pvae.build((6,), 3, prior=prior, posterior=posterior, **SMALL))
    check(compiled, vae, vae.sample(4, seed=0, draw=True))


@pytest.mark.parametrize("kind", COUNTS)
def test_counts_and_their_totals(kind, compiled):
    torch.manual_seed(0)
    vae = sharpened(pvae.build((6,), 2, likelihood=COUNTS[kind], **SMALL))
    x = vae.sample(4, seed=0, draw=True) + torch.arange(4).double()[:, None]
    check(compiled, vae, x, None, x)


def test_labels_and_threads(compiled):
    torch.manual_seed(0)
    seen = ("prior", "likelihood")
    vae = sharpened(pvae.build((6,), 2, conditional=seen, classes=3, **SMALL))
    y = torch.tensor([0, 1, 2, 1])
    x = vae.sample(4, y, seed=0, draw=True)
    check(compiled, vae, x, y, threads=3)


def test_one_compilation_serves_all_data_and_both_directions(compiled):
    torch.manual_seed(0)
    vae = sharpened(pvae.build((6,), 2, **SMALL))
    x = vae.sample(7, seed=0, draw=True)
    shared = Trajectories(vae, 1e15)
    common = QUICK | {"num_chains": 3}
    found = ais(vae, x, trajectories=shared, **common)
    drawn = bidirectional(vae, 5, trajectories=shared, **common)
    assert len(compiled) == 2
    torch.testing.assert_close(found.log_prob, ais(vae, x, **common).log_prob)
    torch.testing.assert_close(drawn.upper, bidirectional(vae, 5, **common).upper)


def test_chains_without_a_graph_run_eagerly(compiled, monkeypatch):
    def untraceable(*given, **options):
        raise Untraceable("a cause")

    monkeypatch.setattr(trajectory, "trace", untraceable)
    vae = pvae.build((6,), 2, **SMALL).double()
    x = vae.sample(3, seed=0, draw=True)
    for one, other in zip(anneal(vae, x, gradients=1e15), anneal(vae, x), strict=True):
        assert torch.equal(one, other)
