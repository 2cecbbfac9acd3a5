"""A class, an instance, a string or an array in place of another: a sentence for each."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch

import pvae
from pvae import evaluation as ev
from pvae import plots


@pytest.fixture(scope="module")
def data():
    return pvae.data.load("digits")


@pytest.fixture(scope="module")
def vae():
    pyro.set_rng_seed(0)
    return pvae.build((1, 8, 8), latent_dim=2, network=partial(pvae.networks.MLP, hidden=[16]))


@pytest.fixture(scope="module")
def labelled():
    network = partial(pvae.networks.MLP, hidden=[16])
    return pvae.build((1, 8, 8), 2, network=network, conditional=True, classes=10)


X = torch.bernoulli(torch.full((6, 1, 8, 8), 0.5), generator=torch.Generator().manual_seed(0))
Z = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 3

PER_DATUM = {
    name: partial(getattr(ev, name), **options)
    for name, options in {
        "ais": {"num_steps": 2, "num_chains": 2},
        "elbo": {},
        "log_likelihood": {"num_samples": 5},
        "monte_carlo": {"num_samples": 5},
        "pareto_smoothed": {"num_samples": 25},
        "inference_gap": {"num_samples": 5, "steps": 1},
        "kl_decomposition": {},
        "kl_by_level": {},
        "active_units": {},
        "denoise": {"num_samples": 5},
        "refine": {"steps": 1},
        "posterior_samples": {"num_samples": 4, "warmup_steps": 1},
        "anomaly_score": {"num_samples": 5},
        "impute": {"mask": torch.ones(8, 8), "num_samples": 5},
    }.items()
}
WRONG_DATA = {
    "stored": lambda d: d.test.x,
    "grey": lambda d: d.test.x[:5] / 16,
    "data set": lambda d: d,
    "part": lambda d: d.test,
    "string": lambda d: "digits",
    "nothing": lambda d: None,
    "ragged": lambda d: [[1.0], [1.0, 2.0]],
    "strings": lambda d: np.array(["a", "b"]),
    "a datum's row": lambda d: torch.ones(5, 64),
    "complex": lambda d: X.to(torch.complex64),
    "sparse": lambda d: X.to_sparse(),
    "NaN": lambda d: X * torch.nan,
    "scalar": lambda d: 1.0,
    "class": lambda d: torch.Tensor,
}
METHODS = {
    "encode": lambda v, x: v.encode(x),
    "reconstruct": lambda v, x: v.reconstruct(x),
    "interpolate": lambda v, x: v.interpolate(x, x),
    "impute": lambda v, x: ev.impute(v, x, torch.ones(8, 8)),
    "denoise": lambda v, x: ev.denoise(v, x),
    "refine": lambda v, x: ev.refine(v, x),
}


def refusal(call, *kinds):
    """The sentence that a call is refused with."""
    with pytest.raises(kinds or (TypeError, ValueError)) as raised:
        call()
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < 300
    assert said.endswith(".")
    internal = (
        r"scale|unsigned char|mat1|has no attribute|got an unexpected|__|Traceback|not iterable"
    )
    assert not re.search(internal, said), said
    return said


@pytest.mark.parametrize("wrong", WRONG_DATA)
@pytest.mark.parametrize("call", [*METHODS, *PER_DATUM])
def test_values_that_are_not_batches(vae, data, call, wrong):
    if wrong == "NaN" and call == "impute":
        return  # all is observed, but nothing needs to be
    x = WRONG_DATA[wrong](data)
    said = refusal(lambda: (METHODS | PER_DATUM)[call](vae, x))
    if wrong in ("stored", "grey", "data set", "part", "string", "nothing"):
        assert "data.batch(vae, 'test')" in said
    if wrong in ("stored", "grey"):
        assert "binary values" in said


@pytest.mark.parametrize("wrong", ["runs/digits", None, X, pvae.VAE, 3])
@pytest.mark.parametrize("call", PER_DATUM)
def test_values_that_are_not_vaes(data, call, wrong):
    assert "expected a VAE" in refusal(lambda: PER_DATUM[call](wrong, X), TypeError)


@pytest.mark.parametrize("wrong", ["digits", None, X, pvae.data.Dataset, 3])
@pytest.mark.parametrize(
    "call", ["evaluate", "compression", "representation", "sample_quality", "vae"]
)
def test_values_that_are_not_data_sets(vae, data, call, wrong):
    if call == "vae":
        assert "VAE" in refusal(lambda: data.batch(wrong), TypeError)
    else:
        said = refusal(lambda: getattr(ev, call)(vae, wrong), TypeError)
        assert "pvae.data.load" in said
        assert "expected a VAE" in refusal(lambda: getattr(ev, call)("vae", data), TypeError)


@pytest.mark.parametrize(
    "call",
    [
        lambda v, c, d: v.decode("z"),
        lambda v, c, d: v.decode(None),
        lambda v, c, d: v.decode(torch.zeros(3, 5)),
        lambda v, c, d: v.decode(1.0),
        lambda v, c, d: v.sample("16"),
        lambda v, c, d: v.sample(2.5),
        lambda v, c, d: v.sample(-1),
        lambda v, c, d: v.sample(2, seed="a"),
        lambda v, c, d: v.interpolate(X, X[:2]),
        lambda v, c, d: v.interpolate(X, X, steps=1),
        lambda v, c, d: v.interpolate(X, X, steps="10"),
        lambda v, c, d: v.model("x"),
        lambda v, c, d: v.model(X.byte()),
        lambda v, c, d: v.guide(X.numpy()),
        lambda v, c, d: v.guide(X.flatten(1)),
        lambda v, c, d: ev.impute(v, X, "half"),
        lambda v, c, d: ev.impute(v, X, X[:, :, :3]),
        lambda v, c, d: c.sample(2),
        lambda v, c, d: c.sample(2, "three"),
        lambda v, c, d: c.sample(2, y=10),
        lambda v, c, d: c.sample(3, y=[1, 2]),
        lambda v, c, d: c.sample(3, y=1.5),
        lambda v, c, d: c.sample(3, y={"a": 1}),
        lambda v, c, d: c.encode(X),
        lambda v, c, d: c.encode(X, "three"),
        lambda v, c, d: c.encode(X, torch.arange(3)),
        lambda v, c, d: c.model(X),
        lambda v, c, d: c.decode(Z, torch.arange(3)),
        lambda v, c, d: d.batch(v, "tests"),
        lambda v, c, d: d.batch(v, 3),
        lambda v, c, d: d.batch(v, n=0),
        lambda v, c, d: d.batch(v, n="all"),
        lambda v, c, d: d.batch(v, seed="a"),
        lambda v, c, d: d.batch(pvae.build((3,), 2)),
        lambda v, c, d: ev.evaluate(v, d, "tests"),
        lambda v, c, d: ev.evaluate(v, d, batch_size=0),
        lambda v, c, d: ev.evaluate(v, d, seed="a"),
        lambda v, c, d: ev.log_likelihood(v, X, num_samples="5000"),
        lambda v, c, d: ev.log_likelihood(v, X, seconds=0),
        lambda v, c, d: ev.log_likelihood(v, X, memory="1"),
        lambda v, c, d: ev.bidirectional("vae", 3),
        lambda v, c, d: ev.bidirectional(v, X),
        lambda v, c, d: ev.simulation_based_calibration("vae"),
        lambda v, c, d: ev.simulation_based_calibration(v, X),
        lambda v, c, d: ev.refine(v, X, steps=0),
        lambda v, c, d: ev.refine(v, X, lr="a"),
        lambda v, c, d: ev.inference_gap(v, X, lr=-1.0),
        lambda v, c, d: ev.active_units(v, X[:1]),
        lambda v, c, d: ev.active_units(v, X, threshold="a"),
        lambda v, c, d: ev.anomaly_score(v, X, correction="luck"),
        lambda v, c, d: ev.anomaly_score(v, X, correction="typicality", reference="train"),
        lambda v, c, d: ev.anomaly_score(v, X, correction="background", background="run"),
        lambda v, c, d: ev.complexity("x"),
        lambda v, c, d: ev.roc("score", Y),
        lambda v, c, d: ev.roc(Z[:, 0], None),
        lambda v, c, d: ev.mig("z", Y),
        lambda v, c, d: ev.mig(Z, None),
        lambda v, c, d: ev.mig(Z, Y[:, None], bins=0),
        lambda v, c, d: ev.sap(Z, "v"),
        lambda v, c, d: ev.dci(Z, Y),
        lambda v, c, d: ev.clustering(Z, None),
        lambda v, c, d: ev.knn_accuracy(Z, Y, Z, Y, k=0),
        lambda v, c, d: ev.knn_accuracy(Z, Y, "z", Y),
        lambda v, c, d: ev.linear_probe_accuracy(Z, Y * 0, Z, Y),
        lambda v, c, d: ev.frechet_distance(Z, "z"),
        lambda v, c, d: ev.precision_recall(Z, Z, k="5"),
        lambda v, c, d: ev.classifier_features(X, None),
        lambda v, c, d: ev.classifier_features("x", Y),
        lambda v, c, d: ev.sample_quality(v, d, features="inception"),
        lambda v, c, d: ev.sample_quality(v, d, n=0),
        lambda v, c, d: ev.representation(v, d, k=0),
        lambda v, c, d: pvae.load(None),
        lambda v, c, d: pvae.load(v),
        lambda v, c, d: pvae.load("runs", vae="vae"),
        lambda v, c, d: pvae.data.load(None),
        lambda v, c, d: pvae.data.load(3),
        lambda v, c, d: pvae.data.load([1, 2]),
        lambda v, c, d: pvae.data.load(np.zeros(5)),
        lambda v, c, d: pvae.data.load(np.array("x")),
        lambda v, c, d: pvae.data.load(X, labels=3),
        lambda v, c, d: pvae.data.load(X, labels=[1, 2]),
        lambda v, c, d: pvae.data.load(X, validation="half"),
        lambda v, c, d: pvae.data.load(X, test=2.5),
        lambda v, c, d: pvae.data.load(X, binarization="often"),
        lambda v, c, d: pvae.data.load("digits", size="big"),
        lambda v, c, d: pvae.data.Batches(d, d.test, "binry", 5),
        lambda v, c, d: pvae.data.Batches(d, "test", "binary", 5),
        lambda v, c, d: pvae.data.Batches("digits", d.test, "binary", 5),
        lambda v, c, d: pvae.data.Batches(d, d.test, "binary", "5"),
        lambda v, c, d: pvae.data.Part("x"),
        lambda v, c, d: d.with_classes(None),
        lambda v, c, d: plots.samples("x"),
        lambda v, c, d: plots.samples(None),
        lambda v, c, d: plots.samples(X, labels=["a"]),
        lambda v, c, d: plots.samples(X, value_range="a"),
        lambda v, c, d: plots.samples(X, value_range=1),
        lambda v, c, d: plots.samples(X, figure="f.png"),
        lambda v, c, d: plots.reconstructions(X, X[:2]),
        lambda v, c, d: plots.interpolations(X),
        lambda v, c, d: plots.latent_scatter(X),
        lambda v, c, d: plots.latent_scatter(Z, Y[:3]),
        lambda v, c, d: plots.latent_scatter(Z, "y"),
        lambda v, c, d: plots.tsne(Z[:2]),
        lambda v, c, d: plots.manifold(X, Z),
        lambda v, c, d: plots.loss_curves(3),
        lambda v, c, d: plots.roc(Z, Z, 0.5),
        lambda v, c, d: plots.percentiles(0),
        lambda v, c, d: plots.percentiles("a"),
        lambda v, c, d: plots.save("figure", "x.png"),
        lambda v, c, d: plots.save(plots.samples(X), 3),
        lambda v, c, d: plots.save(plots.samples(X), "x.gif"),
        lambda v, c, d: plots.side_by_side(3, ["a"]),
        lambda v, c, d: plots.animate([], [], Path("x.gif")),
        lambda v, c, d: plots.rank_histograms("r", 5),
        lambda v, c, d: plots.imputations(X, "mask", X),
    ],
)
def test_other_calls(vae, labelled, data, call):
    refusal(lambda: call(vae, labelled, data), TypeError, ValueError, FileNotFoundError)
