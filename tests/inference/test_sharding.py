"""Graphs split by the items of a minibatch: their shards sum to what the graph computes."""

import itertools
import math

import pyro
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyro import distributions as dist
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO

import pvae
from pvae import likelihoods, networks, objectives, posteriors, priors
from pvae.inference import CompiledSVI, Optimizer
from pvae.inference.sharding import NotSplit, Sharding, Split, Splitter
from pvae.inference.sharding_rules import RULES

BATCH = 8


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Nets of tests are not worth it."""
    monkeypatch.setattr("pvae.inference.sharding.WORTH", 0)


def graph_of(svi: SVI, *args):
    """The program of a step, and the inputs of its graph."""
    with pyro.validation_enabled(False):
        svi.step(*args)
    ((program,),) = svi._programs.values()
    return program, [*program.parameters, *args, *program.graph.live]


def of_vae(shape=(1, 8, 8), loss=None, batch=BATCH, data=torch.bernoulli, y=None, **parts):
    pyro.set_rng_seed(0)
    vae = pvae.build(shape, 4, **parts)
    optim = Optimizer(vae.parameters(), torch.optim.Adam)
    svi = CompiledSVI(
        vae.model, vae.guide, optim, loss or Trace_ELBO(), compile=True, backend="graph"
    )
    x = data(torch.rand(batch, *shape))
    return graph_of(svi, x, *([] if y is None else [y]))


def split(program, tensors, shards=2) -> Sharding:
    first = len(program.parameters)
    items = range(first, len(tensors) - len(program.graph.live))
    return Splitter(program.graph.module, items, shards, RULES).split()


def both(program, tensors, shards=2):
    """The results of the whole graph and the sums of those of shards, from the same noise."""
    sharding = split(program, tensors, shards)
    with torch.no_grad():
        state = torch.get_rng_state()
        copies = [t.clone() for t in tensors]  # it may count steps there
        whole = program.graph.module(*copies)
        after = torch.get_rng_state()
        torch.set_rng_state(state)
        parts = [sharding.shard(*inputs) for inputs in sharding.inputs(tensors)]
    assert torch.equal(torch.get_rng_state(), after), "other random numbers were drawn"
    assert all(map(torch.equal, tensors, copies)), "other tensors were changed"
    results = [
        sum(part[i] for part in parts) if partial else parts[0][i]
        for i, partial in enumerate(sharding.partial)
    ]
    return whole, results


def assert_equal(whole, results):
    assert len(whole) == len(results)
    for one, other in zip(whole, results, strict=True):
        scale = float(one.abs().max())
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5 * max(scale, 1e-3))
        assert one.stride() == other.stride()


def counts(x):
    return torch.poisson(4 * x)


def bytes_(x):
    return (255 * x).round()


LABELS = torch.arange(BATCH) % 3
VAES = {
    "mlp": {},
    "conv": {"network": networks.Conv, "shape": (1, 16, 16)},
    "resnet": {"network": networks.ResNet, "shape": (3, 16, 16)},
    "labels": {"classes": 3, "conditional": True, "y": LABELS},
    "bernoulli of bytes": {"likelihood": likelihoods.DiscretizedLogistic, "data": bytes_},
    "colours": {
        "likelihood": likelihoods.DiscretizedLogisticMixture,
        "shape": (3, 8, 8),
        "network": networks.Conv,
        "data": bytes_,
    },
    "counts, dropout": {"likelihood": likelihoods.NegativeBinomial, "shape": (9,), "data": counts},
    "zero-inflated": {
        "likelihood": likelihoods.ZeroInflatedPoisson,
        "shape": (9,),
        "data": counts,
    },
    "gaussian": {"likelihood": likelihoods.Gaussian, "data": lambda x: x},
    "mixture prior": {"prior": priors.Mixture},
    "learned prior": {"prior": priors.Normal},
    "student t": {"posterior": posteriors.StudentT, "prior": priors.StudentT},
    "planar flow": {"posterior": posteriors.PlanarFlow},
    "importance": {"loss": objectives.ImportanceWeighted(5)},
    "partially importance": {"loss": objectives.MIWAE(3, 2)},
    "annealed": {"loss": objectives.BetaELBO(beta=4.0, warmup_steps=10)},
    "analytic": {"loss": TraceMeanField_ELBO()},
    "noisy inputs": {"loss": objectives.Denoising()},
}


@pytest.mark.parametrize("name", VAES)
def test_shards_sum_to_the_whole(name):
    assert_equal(*both(*of_vae(**VAES[name])))


@pytest.mark.parametrize("shards", [2, 4, 8])
def test_any_number_of_shards(shards):
    program, tensors = of_vae(batch=16)
    assert_equal(*both(program, tensors, shards))


NOT_SPLIT = {
    "a batch that is not divided": ({"batch": 7}, "7 items are not divided"),
    "single items": ({"batch": 2}, "2 items are not divided"),
    "free bits of the mean": ({"loss": objectives.FreeBits(0.1)}, "not linear"),
    "a discrepancy of all codes": ({"loss": objectives.InfoVAE()}, "not linear|mixes|not known"),
    "samples of mixtures": ({"posterior": posteriors.MixtureOfNormals}, "draws from items"),
}


@pytest.mark.parametrize("name", NOT_SPLIT)
def test_what_mixes_items_is_not_split(name):
    parts, said = NOT_SPLIT[name]
    with pytest.raises(NotSplit, match=said):
        split(*of_vae(**parts))


def test_a_term_of_no_item_is_not_added_twice():
    def model(x):
        w = pyro.sample("w", dist.Normal(torch.zeros(3), 1).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(w, 1).to_event(1), obs=x)

    def guide(x):
        loc = pyro.param("loc", lambda: torch.zeros(3))
        pyro.sample("w", dist.Normal(loc, 1).to_event(1))

    svi = CompiledSVI(
        model, guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO(), compile=True, backend="graph"
    )
    with pytest.raises(NotSplit, match="not linear"):
        split(*graph_of(svi, torch.randn(BATCH, 3)))


def test_work_that_every_shard_would_repeat_is_not_split():
    vamp = {"prior": priors.VampPrior}
    with pytest.raises(NotSplit):
        split(*of_vae(**vamp))


def test_small_shards_are_not_worth_their_gradients(monkeypatch):
    monkeypatch.setattr("pvae.inference.sharding.WORTH", 340)
    with pytest.raises(NotSplit, match="adding the gradients"):
        split(*of_vae())


SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)


@given(SHAPES, st.integers(0, 3), SHAPES)
def test_items_are_found_in_another_shape(before, dim, order):
    """Wherever they are said to lie, they lie, as the numbers of a tensor show."""
    splitter = Splitter.__new__(Splitter)
    splitter.items = 4
    dim %= len(before)
    before[dim] = 4
    items = torch.arange(4).view([4 if d == dim else 1 for d in range(len(before))])
    items = items.expand(before)
    for after in {tuple(s) for s in itertools.permutations(factors(before, order))}:
        try:
            found = splitter.moved(Split(dim), items.shape, after)
        except NotSplit:
            continue
        moved = items.reshape(after)
        inner = after[found.dim] // (4 * found.blocks)
        line = torch.arange(4).repeat_interleave(inner).repeat(found.blocks)
        shape = [-1 if d == found.dim else 1 for d in range(len(after))]
        assert torch.equal(moved, line.view(shape).expand(after))


def factors(shape, order):
    """Other sizes with as many numbers: the first of an order that divide what is left."""
    left, sizes = math.prod(shape), []
    for number in order:
        if left % number == 0:
            sizes.append(number)
            left //= number
    return [*sizes, left]
