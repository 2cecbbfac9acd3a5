import importlib
import math
import threading
from functools import partial

import pytest
import torch

import pvae
from pvae.evaluation import batching, elbo, log_likelihood, monte_carlo, scoring
from pvae.evaluation.importance import effective_sample_size, log_mean, standard_error
from tests.evidence_cases import Discrete, LinearGaussian

QUIET = {"progress": False}
MODULE = importlib.import_module("pvae.evaluation.log_likelihood")  # not its function


def test_weights_by_hand():
    log_w = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).log().unsqueeze(1)
    assert log_mean(log_w).exp().item() == pytest.approx(7 / 3)
    assert effective_sample_size(log_w).item() == pytest.approx(49 / 21)
    deviation = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).std().item()
    assert standard_error(log_w).item() == pytest.approx(deviation / math.sqrt(3) / (7 / 3))
    assert standard_error(log_w[:1]).isnan()


def test_the_exact_posterior_gives_the_exact_evidence():
    case = LinearGaussian()
    x = case.sample(30)
    found = log_likelihood(case.vae, x, num_samples=3, **QUIET)
    torch.testing.assert_close(found.log_prob, case.evidence.log_prob(x))
    assert found.standard_error.max() < 1e-9
    torch.testing.assert_close(found.effective_sample_size, torch.full((30,), 3.0).double())


@pytest.mark.parametrize("estimator", [log_likelihood, monte_carlo])
@pytest.mark.parametrize("case", [LinearGaussian(noise=1.0, scale=1.2, shift=0.1), Discrete()])
def test_estimates_lie_within_their_errors(case, estimator):
    x = case.sample(200)
    truth = case.evidence.log_prob(x) if hasattr(case, "evidence") else case.log_evidence(x)
    found = estimator(case.vae, x, num_samples=4000, **QUIET)
    assert torch.equal(found.standard_error.isnan(), found.pareto_k > 0.7)
    z = ((found.log_prob - truth) / found.standard_error)[found.pareto_k <= 0.7]
    # Errors of one standard deviation, normal but for a few data with heavy weights.
    assert 0.8 < z.square().mean().sqrt() < 1.2
    assert z.abs().max() < 5


def test_the_prior_is_a_poor_proposal():
    case = LinearGaussian(latent_dim=4, observed=10, noise=0.2, scale=1.1)
    x = case.sample(20)
    good, bad = (f(case.vae, x, num_samples=1000, **QUIET) for f in (log_likelihood, monte_carlo))
    truth = case.evidence.log_prob(x)
    assert (good.log_prob - truth).abs().max() < 0.1
    assert (bad.log_prob - truth).mean() < -10
    assert bad.effective_sample_size.median() < 3 < 500 < good.effective_sample_size.median()


def test_the_bound_rises_with_samples():
    case = LinearGaussian(scale=1.5, shift=0.2)
    x = case.sample(2000)
    bounds = [elbo(case.vae, x).elbo.mean()] + [
        log_likelihood(case.vae, x, num_samples=k, **QUIET).log_prob.mean() for k in (1, 3, 10, 100)
    ]
    assert abs(bounds[0] - bounds[1]) < 0.1
    assert bounds[1] < bounds[2] < bounds[3] < bounds[4] < case.evidence.log_prob(x).mean()


def test_two_seeds_differ_by_what_their_errors_say():
    case = LinearGaussian(scale=1.2)
    x = case.sample(25)
    ratios = []
    for seed in range(20):
        a, b = (
            log_likelihood(case.vae, x, num_samples=400, seed=s, **QUIET)
            for s in (seed, 100 + seed)
        )
        error = (a.standard_error.square() + b.standard_error.square()).sum().sqrt()
        ratios.append(((a.log_prob - b.log_prob).sum() / error).item())
    # 20 normal numbers of deviation 1: no larger than 3.5, and a mean square in chi-squared bounds.
    assert max(map(abs, ratios)) < 3.5
    assert 0.35 < sum(r * r for r in ratios) / 20 < 2.1


def test_neither_chunks_nor_portions_change_what_is_estimated():
    case = Discrete()
    x = case.sample(10)
    truth = case.log_evidence(x)
    for memory in (0.005, 0.02, 256):
        found = log_likelihood(case.vae, x, num_samples=1000, memory=memory, **QUIET)
        assert ((found.log_prob - truth) / found.standard_error.clamp_min(1e-3)).abs().max() < 5
    assert torch.equal(found.log_prob, log_likelihood(case.vae, x, num_samples=1000, **QUIET)[0])


def test_encodings_are_made_once_per_datum(vae, x, monkeypatch):
    rows = []
    monkeypatch.setattr(
        vae.posterior, "forward", lambda x, f=vae.posterior.forward: (rows.append(len(x)), f(x))[1]
    )
    log_likelihood(vae, x, num_samples=50, memory=0.01, **QUIET)
    # Once more to look at the data's support, and for a few data to measure a draw.
    assert 2 * len(x) <= sum(rows) <= 2 * len(x) + 4


@pytest.fixture
def compiled(monkeypatch):
    """Have scores compiled however few they are, and list the scorers that tried."""
    monkeypatch.setattr(scoring, "REPAID", 0)
    make, found = scoring.Scorer._compile, []

    def compile_and_keep(self, *given):
        make(self, *given)
        found.append(self)

    monkeypatch.setattr(scoring.Scorer, "_compile", compile_and_keep)
    return found


@pytest.fixture
def plain_graphs(monkeypatch):
    """Run the traced graph as it is."""
    monkeypatch.setattr(scoring, "compile_graph", lambda module, *_: module.forward)


@pytest.fixture
def three_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("likelihood", "event_shape", "labels"),
    [
        ("Bernoulli", (3, 40, 10), {}),
        ("Bernoulli", (7,), {"conditional": True, "classes": 3}),
        ("Poisson", (9,), {"conditional": ["prior", "likelihood"], "label_dim": 2}),
    ],
)
def test_compiled_scores_are_the_eager_ones(request, likelihood, event_shape, labels):
    if labels:  # whose tracing is of interest; Inductor has the first case
        request.getfixturevalue("plain_graphs")
    vae = pvae.build(
        event_shape,
        2,
        likelihood=getattr(pvae.likelihoods, likelihood),
        network=partial(pvae.networks.MLP, hidden=[16], activation="tanh"),
        **labels,
    )
    y = torch.tensor([0, 2, 1, 1]) if "classes" in labels else torch.randn(4, 2)
    y = y if labels else None
    x = vae.sample(4, y, seed=1, draw=True)
    eager = log_likelihood(vae, x, y, num_samples=64, **QUIET)
    scorers = request.getfixturevalue("compiled")
    found = log_likelihood(vae, x, y, num_samples=64, **QUIET)
    assert scorers[0]._compiled is not None
    for field in ("log_prob", "standard_error"):
        torch.testing.assert_close(
            getattr(found, field), getattr(eager, field), rtol=1e-4, atol=1e-4
        )


# Of which a graph of the second draws random numbers.
@pytest.mark.parametrize(
    "prior", [pvae.priors.StandardNormal, partial(pvae.priors.Nested, hidden=[8])]
)
@pytest.mark.usefixtures("plain_graphs", "three_threads")
def test_portions_are_scored_in_parallel(monkeypatch, request, prior):
    vae = pvae.build((7,), 2, prior=prior, network=partial(pvae.networks.MLP, hidden=[16]))
    x = vae.sample(6, seed=1, draw=True)
    arguments = {"num_samples": 500, "memory": 0.05, **QUIET}
    eager = log_likelihood(vae, x, **arguments)
    # Chunks of five data or of four, and a smaller one, which is scored as it is.
    monkeypatch.setattr(MODULE, "_PORTIONS", 10)
    scorers, scored = request.getfixturevalue("compiled"), []
    alone = scoring.compute_alone
    monkeypatch.setattr(
        scoring,
        "compute_alone",
        lambda: (alone(), scored.append((threading.get_ident(), torch.get_num_threads()))),
    )
    found = log_likelihood(vae, x, **arguments)
    assert torch.equal(found.log_prob, log_likelihood(vae, x, **arguments).log_prob)
    assert torch.get_num_threads() == 3
    assert scorers[0]._compiled is not None
    if prior is pvae.priors.StandardNormal:
        assert scorers[0].abreast == 3
        assert {ident for ident, _ in scored} - {threading.get_ident()}
        assert {number for _, number in scored} == {1}
    else:
        assert scorers[0].abreast == 1
        assert not scored
    error = (eager.standard_error**2 + found.standard_error**2).sqrt()
    assert ((found.log_prob - eager.log_prob) / error).abs().nan_to_num().max() < 4


@pytest.mark.usefixtures("compiled", "three_threads", "plain_graphs")
def test_what_goes_wrong_in_a_thread_stops_the_rest(vae, x, monkeypatch):
    calls = []

    def fail(*tensors):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("no more")
        return run(*tensors)

    make = scoring.Scorer._compile

    def compile_and_fail(self, *given):
        nonlocal run
        make(self, *given)
        run, self._compiled = self._compiled, fail

    run = None
    monkeypatch.setattr(scoring.Scorer, "_compile", compile_and_fail)
    with pytest.raises(MemoryError, match="no more"):
        log_likelihood(vae, x, num_samples=5000, memory=0.1, **QUIET)
    assert len(calls) < 30
    assert torch.get_num_threads() == 3


def test_a_short_time_limit_is_used_up_in_small_chunks(monkeypatch):
    vae = pvae.build((1, 28, 28), 20, network=partial(pvae.networks.MLP, hidden=[400]))
    x = torch.zeros(1000, 1, 28, 28)
    now, planned = [0.0], []

    class Timed(scoring.Scorer):
        """Weighs at the supposed speed, in a time of its own."""

        def __init__(self, vae, floats):
            planned.append(floats)
            self.seconds = batching.floats_per_row(vae) / MODULE._PER_SECOND  # of a draw
            super().__init__(vae, floats)

        def __call__(self, draw, density, times, x, y=None):
            draws = len(draw()[0])
            now[0] += times * draws * len(x) * self.seconds
            return x.new_zeros(times, draws, len(x))

    monkeypatch.setattr(MODULE, "Scorer", Timed)
    monkeypatch.setattr(batching.time, "monotonic", lambda: now[0])
    found = MODULE.log_likelihood(vae, x, num_samples=5000, seconds=2.0, progress=False)
    assert planned[0] < scoring.REPAID  # compilation takes longer than the time that is left
    assert 2.0 < now[0] < 2.2
    assert 1 < len(found.log_prob) < 1000


def test_weights_are_held_within_the_memory(monkeypatch):
    vae = pvae.build((4,), 1, network=partial(pvae.networks.MLP, hidden=[4]))
    x = vae.sample(4000, seed=0, draw=True)
    sizes = []
    monkeypatch.setattr(
        MODULE,
        "log_mean",
        lambda w: (sizes.append(w.numel()), log_mean(w))[1],
    )
    log_likelihood(vae, x, num_samples=100, memory=0.5, **QUIET)
    assert 4 * max(sizes) < 0.5 * 2**20 / 6  # in addition to their copies


def test_what_cannot_be_compiled_is_run_as_it_is(monkeypatch, vae, x):
    eager = log_likelihood(vae, x, num_samples=5, **QUIET)
    monkeypatch.setattr(scoring, "REPAID", 0)
    forward = vae.likelihood.forward
    monkeypatch.setattr(
        vae.likelihood, "forward", lambda z: forward(z * (2.0 if z.sum().item() > 1e9 else 1.0))
    )
    found = log_likelihood(vae, x, num_samples=5, **QUIET)
    torch.testing.assert_close(found.log_prob, eager.log_prob)


def test_labels():
    vae = pvae.build((6,), 2, conditional=["prior", "likelihood"], classes=3)
    y = torch.tensor([0, 1, 2, 0])
    x = vae.sample(4, y, seed=0, draw=True)
    found = log_likelihood(vae, x, y, num_samples=2000, **QUIET)
    again = monte_carlo(vae, x, y, num_samples=2000, **QUIET)
    error = (found.standard_error**2 + again.standard_error**2).sqrt()
    assert ((found.log_prob - again.log_prob) / error).abs().max() < 4
    with pytest.raises(ValueError, match="give its labels y"):
        log_likelihood(vae, x)


@pytest.mark.parametrize("estimator", [log_likelihood, monte_carlo])
def test_bad_input(vae, x, estimator):
    with pytest.raises(
        ValueError, match="num_samples is 0: it must be a whole number of at least 1"
    ):
        estimator(vae, x, num_samples=0)
    with pytest.raises(ValueError, match=r"num_samples is 2\.5"):
        estimator(vae, x, num_samples=2.5)
    for memory in (-1, "64", None, math.inf):
        with pytest.raises(ValueError, match=f"memory is {memory!r}: give a positive number"):
            estimator(vae, x, memory=memory)
    for seed in (1.5, 2**70):
        with pytest.raises(ValueError, match=f"seed is {seed}: give a whole number"):
            estimator(vae, x, seed=seed)
    with pytest.raises(ValueError, match="x is sparse: give a dense tensor"):
        estimator(vae, x.to_sparse())
    with pytest.raises(ValueError, match=r"x holds 2, .* Bernoulli is over binary"):
        estimator(vae, x * 2)
    with torch.no_grad():
        next(vae.likelihood.parameters())[0] = math.nan
    with pytest.raises(
        ValueError, match=r"parameter likelihood.* is not finite, as after a training"
    ):
        estimator(vae, x)
