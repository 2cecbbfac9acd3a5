"""Graphs split by the items of a minibatch: their shards sum to what the graph computes."""

import math
from functools import partial

import pyro
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyro import distributions as dist
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch.fx.experimental.proxy_tensor import make_fx

import pvae
from pvae import likelihoods, networks, objectives, posteriors, priors
from pvae.inference import CompiledSVI, Optimizer
from pvae.inference.sharding import NotSplit, Sharding, Split, Splitter
from pvae.inference.sharding_rules import RULES

BATCH = 8


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Nets of tests are not worth it."""
    for least in ("WORTH", "LEAST"):
        monkeypatch.setattr(f"pvae.inference.sharding.{least}", 0)


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
    "bytes": {"likelihood": likelihoods.DiscretizedLogistic, "data": bytes_},
    "colours": {
        "likelihood": likelihoods.DiscretizedLogisticMixture,
        "shape": (3, 8, 8),
        "network": networks.Conv,
        "data": bytes_,
    },
    "counts": {"likelihood": likelihoods.NegativeBinomial, "shape": (9,), "data": counts},
    "dropout": {"network": partial(networks.MLP, hidden=[12], dropout=0.3)},
    "zero-inflated": {
        "likelihood": likelihoods.ZeroInflatedPoisson,
        "shape": (9,),
        "data": counts,
    },
    "gaussian": {"likelihood": likelihoods.Gaussian, "data": lambda x: x},
    "mixture prior": {"prior": priors.Mixture},
    "learned prior": {"prior": priors.Normal},
    "laplace": {"posterior": posteriors.Laplace, "prior": priors.StudentT},
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
    "a discrepancy of all codes": ({"loss": objectives.InfoVAE()}, "not linear"),
    "pseudo-inputs": ({"prior": priors.VampPrior}, "not linear"),
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


def traced(function, *tensors):
    """A graph of a function of items and other tensors, split in two, and the inputs."""
    module = make_fx(function, tracing_mode="fake")(*tensors)
    return Splitter(module, range(1), 2, RULES).split()


def test_work_that_every_shard_would_repeat_is_not_split():
    large = torch.ones(50, 50)
    with pytest.raises(NotSplit, match="much depends on no item"):
        traced(lambda x, w: [(x @ (w @ w)[:3]).sum()], torch.ones(8, 3), large)


def test_small_shards_are_not_worth_their_gradients(monkeypatch):
    monkeypatch.setattr("pvae.inference.sharding.WORTH", 340)
    with pytest.raises(NotSplit, match="adding gradients"):
        split(*of_vae())


SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)


def lie(items, split):
    """Whether the items of a tensor, as its numbers, lie where they are said to."""
    inner = items.shape[split.dim] // (4 * split.blocks)
    line = torch.arange(4).repeat_interleave(inner).repeat(split.blocks)
    shape = [-1 if dim == split.dim else 1 for dim in range(items.dim())]
    return torch.equal(items, line.view(shape).expand(items.shape))


@given(SHAPES, st.integers(0, 3), st.lists(SHAPES, min_size=1, max_size=2))
def test_items_are_where_they_are_said_to_be_in_other_shapes(before, dim, orders):
    """Wherever items are found, there they are, and they are found again in the first shape."""
    splitter = Splitter.__new__(Splitter)
    splitter.items = 4
    dim %= len(before)
    before[dim] = 4
    items = torch.arange(4).view([4 if d == dim else 1 for d in range(len(before))]).expand(before)
    first = place = Split(dim)
    assert splitter.moved(first, items.shape, items.shape) == first
    for order in orders:
        after = torch.Size(factors(before, order))
        try:
            place = splitter.moved(place, items.shape, after)
        except NotSplit:
            return
        items = items.reshape(after)
        assert lie(items, place)
    assert splitter.moved(place, items.shape, torch.Size(before)) == first


def factors(shape, order):
    """Other sizes with as many numbers: the first of an order that divide what is left."""
    left, sizes = math.prod(shape), []
    for number in order:
        if left % number == 0:
            sizes.append(number)
            left //= number
    return [*sizes, left]


@pytest.mark.parametrize(
    ("split", "before", "after", "expected"),
    [
        (Split(1), (5, 4, 3), (20, 3), Split(0, 5)),
        (Split(0, 5), (20, 3), (5, 4, 3), Split(1)),
        (Split(0), (4, 6), (24,), Split(0)),
        (Split(0), (4, 6), (8, 3), Split(0)),
        (Split(1), (2, 4), (1, 8), Split(1, 2)),
    ],
)
def test_samples_are_joined_with_items_and_parted(split, before, after, expected):
    splitter = Splitter.__new__(Splitter)
    splitter.items = 4
    assert splitter.moved(split, torch.Size(before), torch.Size(after)) == expected
