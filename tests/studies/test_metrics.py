import math
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import pvae
from pvae.cli.compare import compare
from pvae.studies.measures import Measures
from pvae.studies.metrics import ERRORS, METRICS, TOGETHER, check_metrics, fingerprint_of, measure


@pytest.fixture(scope="module")
def trained():
    data = pvae.data.load("digits")
    network = pvae.networks.MLP
    vae = pvae.build((1, 8, 8), 2, network=lambda *s: network(*s, hidden=[16]), seed=0)
    pvae.fit(vae, data, epochs=2, progress=False)
    return vae, data


def test_every_metric_is_measured(trained):
    vae, data = trained
    found = measure(vae, data, Measures(tuple(METRICS), num_samples=50, items=40))
    others = {"bits_per_dim", "classification_error", "code_usage", "code_perplexity"}
    others |= {"disentanglement"}  # of several factors
    assert set(found.missing) == others
    names = [name for name in METRICS if name not in others]
    for name in names:
        if name in found.items:
            assert found.items[name].shape == (40,)
        else:
            assert math.isfinite(found.numbers[name])
    gaps = [found.items[name] for name in next(iter(TOGETHER))]
    assert np.allclose(gaps[0], gaps[1] + gaps[2], atol=1e-3)
    assert abs(found.items[ERRORS["gaps"][2]].mean()) < 0.1  # it is converged by half of the steps
    assert 0 <= found.numbers["linear_probe_accuracy"] <= 1
    share = np.mean(~(found.items["pareto_k"] <= 0.7))
    assert found.items["unreliable_share"].mean() == share
    assert (found.items["effective_sample_size"] >= 1).all()


def test_metrics_of_codes_and_of_labels():
    data = pvae.data.load("digits")
    coded = pvae.build(
        data.event_shape, 6, prior=pvae.priors.UniformCodes, posterior=pvae.posteriors.VQ
    )
    found = measure(coded, data, Measures(("code_usage", "code_perplexity"), items=40))
    assert 0 < found.numbers["code_usage"] <= 1 <= found.numbers["code_perplexity"]
    for classifier in (None, pvae.classifiers.Softmax):
        labelled = pvae.build(
            data.event_shape, 2, conditional=True, classes=10, classifier=classifier, seed=0
        )
        wanted = Measures(("neg_elbo", "classification_error"), items=40)
        found = measure(labelled, data, wanted)
        # p(x|y) and p(x) do not compare.
        assert found.values.endswith("binarization" if classifier else "given labels")
        assert ("no classifier" in str(found.missing)) == (classifier is None)
    assert 0.5 < found.items["classification_error"].mean() <= 1  # it is not trained
    unknown = replace(data, test=replace(data.test, y=torch.full((180,), -1)))
    assert "labels of all" in measure(labelled, unknown, wanted).missing["classification_error"]


class Same(torch.nn.Module):
    """An encoder whose mean is x, in the order of its columns, and whose scale is 1."""

    def __init__(self, in_shape, out_shape, order=(0, 1)):
        super().__init__()
        self.register_buffer("order", torch.tensor(order))

    def forward(self, x):
        mean = x[..., self.order]
        return torch.cat([mean, torch.zeros_like(mean)], -1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_disentanglement_by_labels_that_are_factors(order):
    """Latents that are the factors score 1; SAP the mean of 1 - 1/m; a copy of a latent nothing."""
    factors = torch.cartesian_prod(torch.arange(4), torch.arange(5)).repeat(20, 1)
    names = ("mig", "sap", "disentanglement", "completeness", "informativeness")

    def measured(columns, labels):
        data = pvae.data.load(columns.float(), labels=labels, validation=0, test=0)
        data = replace(data, test=data.train)  # every combination is equally frequent
        vae = pvae.build(
            (2,),
            2,
            likelihood=pvae.likelihoods.Gaussian,
            posterior=partial(pvae.posteriors.DiagonalNormal, network=partial(Same, order=order)),
        )
        return measure(vae, data, Measures(names, items=20))

    found = measured(factors, factors).numbers
    expected = [1, ((1 - 1 / 4) + (1 - 1 / 5)) / 2, 1, 1, 1]
    assert [found[name] for name in names] == pytest.approx(expected)
    alone = measured(factors, factors[:, 1])  # one column of classes is one factor
    assert "is 1 for a single factor" in alone.missing["disentanglement"]
    one = alone.numbers
    assert one["completeness"] == pytest.approx(1)
    assert one["mig"] == pytest.approx(1)
    assert one["sap"] == pytest.approx(1 - 1 / 5)
    twice = measured(factors[:, [1, 1]], factors[:, 1]).numbers
    assert twice["mig"] == twice["sap"] == 0
    half = torch.where(torch.arange(len(factors)) < 200, factors[:, 1], -1)  # -1 is unknown
    assert measured(factors, half).numbers["mig"] == pytest.approx(1)
    with pytest.raises(ValueError, match="have continuous ones: leave mig, sap and"):
        measured(factors, factors + 0.5)
    with pytest.raises(ValueError, match="have none: leave mig, sap and"):
        measured(factors, None)


def test_help_names_every_metric():
    assert set(METRICS) <= set(re.findall(r"\w+", compare.__doc__))


def test_the_same_draws_whatever_else_is_measured(trained):
    vae, data = trained
    few = measure(vae, data, Measures(("log_prob",), num_samples=50, items=20))
    torch.manual_seed(5)
    more = measure(vae, data, Measures(("log_prob", "kl", "recall"), num_samples=50, items=20))
    assert np.array_equal(few.items["log_prob"], more.items["log_prob"])


def test_measured_items_are_told_apart_by_what_is_stored(tmp_path):
    first = pvae.data.Part(torch.arange(12, dtype=torch.uint8).view(6, 1, 1, 2))
    again = pvae.data.Part(first.x.clone())
    other = pvae.data.Part(first.x + 1)
    assert fingerprint_of(first, 4, 0) == fingerprint_of(again, 4, 0) != fingerprint_of(other, 4, 0)
    images = []
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.png").write_bytes(content)
        files = pvae.data.ImageFiles([str(tmp_path / name / "image.png")], (2, 2))
        images.append(fingerprint_of(pvae.data.Part(files), 1, 0))
    assert images[0] == images[2] != images[1]


def test_what_does_not_apply_is_said(trained):
    vae, _ = trained
    unlabelled = pvae.data.load(np.zeros((60, 1, 8, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match="label"):
        measure(vae, unlabelled, Measures(("knn_accuracy",), items=20))
    found = measure(
        vae, unlabelled, Measures(("bits_per_dim", "log_prob"), num_samples=5, items=20)
    )
    assert "log_prob" in found.items
    assert "bits_per_dim does not apply" in found.missing["bits_per_dim"]
    with pytest.raises(ValueError, match="There is no metric 'beauty'"):
        check_metrics(["beauty"])
