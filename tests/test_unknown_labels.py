"""VAEs whose labels may be unknown: exact sums over classes in every estimator, and training."""

from dataclasses import replace
from functools import partial

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive

import pvae
from pvae import evaluation
from pvae.cli import reports
from pvae.cli.main import main
from pvae.objectives import SemiSupervised
from pvae.training import trainer
from pvae.training.labelled import with_share
from tests.evidence_cases import LabelledLinearGaussian

NETWORK = partial(pvae.networks.MLP, hidden=[16])


@pytest.fixture(scope="module")
def exact():
    return LabelledLinearGaussian()


@pytest.fixture
def x(exact):
    return exact.sample(6)[0]


@pytest.fixture(scope="module")
def digits():
    data = pvae.data.load("digits")
    return replace(data, train=data.train.subset(range(600))).with_labelled(50)


def small(shape=(1, 8, 8), **options):
    chosen = {"conditional": True, "classes": 10, "classifier": pvae.classifiers.Softmax}
    return pvae.build(shape, 2, **{"network": NETWORK, **chosen, **options})


# The programs -------------------------------------------------------------------------------------


def test_the_model_observes_known_labels():
    vae = small((5,), classes=3)
    x, y = torch.ones(4, 5), torch.tensor([0, 2, -1, -1])
    trace = poutine.trace(poutine.replay(vae.model, poutine.trace(vae.guide).get_trace(x, y)))
    sites = trace.get_trace(x, y).nodes
    assert sites["y_observed"]["value"].tolist() == [0, 2, 0, 0]
    assert sites["y_observed"]["mask"].tolist() == [True, True, False, False]
    assert sites["y_unobserved"]["mask"].tolist() == [False, False, True, True]
    draws = Predictive(poutine.uncondition(vae.model), num_samples=3)(x)
    assert draws["y_unobserved"].shape == (3, 4)


def test_the_guide_knows_them_too():
    vae = small((5,), classes=3)
    guide = poutine.trace(vae.guide).get_trace(torch.ones(4, 5), torch.tensor([0, 2, -1, 1]))
    value = guide.nodes["y_unobserved"]["value"]
    assert value[[0, 1, 3]].tolist() == [0, 2, 1]


# Estimators, without labels -----------------------------------------------------------------------


def test_estimators_sum_over_classes(exact, x):
    """Of exact posteriors every bound is log p(x), the logsumexp of log p(x, y) over y."""
    vae, log_p = exact.vae, exact.joint(x).logsumexp(-1)
    bound = evaluation.elbo(vae, x.expand(5000, 6, 5).flatten(0, 1)).elbo.view(5000, 6).mean(0)
    torch.testing.assert_close(bound, log_p, rtol=0, atol=0.1)  # its KL is in closed form
    found = evaluation.log_likelihood(vae, x, num_samples=10, progress=False)
    torch.testing.assert_close(found.log_prob, log_p)
    annealed = evaluation.ais(vae, x, num_chains=16, num_steps=30, progress=False)
    assert (annealed.log_prob < log_p + 1).all()
    torch.testing.assert_close(annealed.log_prob, log_p, atol=2, rtol=0)
    drawn = evaluation.monte_carlo(vae, x, num_samples=5000, progress=False)
    torch.testing.assert_close(drawn.log_prob, log_p, atol=1.0, rtol=0)


def test_chains_move_in_a_prior_that_sees_classes():
    """p(z) is then a mixture over them."""
    vae = small((5,), classes=3, conditional=["prior"], class_prior="learned").double()
    torch.manual_seed(0)
    for weight in vae.prior.parameters():
        weight.data += 0.5 * torch.randn_like(weight)
    x = torch.rand(4, 5).round().double()
    log_p = evaluation.monte_carlo(vae, x, num_samples=20_000, progress=False).log_prob
    found = evaluation.ais(vae, x, num_chains=256, num_steps=10, progress=False).log_prob
    torch.testing.assert_close(found, log_p, rtol=0, atol=0.15)


def test_estimators_take_known_labels(exact, x):
    """Given y, they are of log p(x|y), as of any conditional VAE."""
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    log_p = exact.evidence_of_class.log_prob(x.unsqueeze(1))[range(6), y]
    found = evaluation.log_likelihood(exact.vae, x, y, num_samples=10, progress=False)
    torch.testing.assert_close(found.log_prob, log_p)
    many = x.expand(5000, 6, 5).flatten(0, 1), y.repeat(5000)
    bound = evaluation.elbo(exact.vae, *many).elbo.view(5000, 6).mean(0)
    torch.testing.assert_close(bound, log_p, rtol=0, atol=0.1)


@pytest.mark.parametrize("seen", [["prior"], ["prior", "likelihood"], ["likelihood", "posterior"]])
def test_its_distributions_are_mixtures_over_classes(seen):
    """p(z), p(x|z) and q(z|x) by hand; and p(z) p(x|z) is the sum of p(y, z, x)."""
    vae = small((5,), classes=3, conditional=seen, class_prior="learned").double()
    vae.labels.logits.data = torch.tensor([0.3, -1.0, 0.1], dtype=torch.float64)
    x, z = torch.rand(4, 5).round().double(), torch.randn(4, 2, dtype=torch.float64)
    log_p_y = vae.labels.logits.log_softmax(-1)
    joint = torch.stack(
        [log_p_y[k] + vae.p_z(k).log_prob(z) + vae.decode(z, k).log_prob(x) for k in range(3)]
    )
    whole = vae.p_z().log_prob(z) + vae.decode(z).log_prob(x)
    torch.testing.assert_close(whole, joint.logsumexp(0))
    log_q_y = vae.classify(x).logits.log_softmax(-1)
    q = torch.stack([log_q_y[:, k] + vae.encode(x, k).log_prob(z) for k in range(3)])
    torch.testing.assert_close(vae.encode(x).log_prob(z), q.logsumexp(0))
    assert vae.sample(7, seed=0).shape == vae.sample(7, y=1, seed=0).shape == (7, 5)


def test_other_queries_do_without_labels(exact, x):
    vae = exact.vae
    best = vae.classify(x).probs.argmax(-1)
    assert torch.equal(best, exact.joint(x).argmax(-1))
    torch.testing.assert_close(vae.reconstruct(x), vae.reconstruct(x, best))
    path = vae.interpolate(x[:2], x[2:4], 3)
    torch.testing.assert_close(path, vae.interpolate(x[:2], x[2:4], 3, y=(best[:2], best[2:4])))
    score = evaluation.anomaly_score(vae, x, num_samples=10, progress=False).score
    torch.testing.assert_close(score, -exact.joint(x).logsumexp(-1))
    found = evaluation.bidirectional(vae, 20, num_chains=8, num_steps=30, progress=False)
    assert -0.5 < found.gap.mean() < 2


def test_classes_are_drawn_as_often_as_they_are_probable(exact):
    pyro.set_rng_seed(0)
    found = exact.vae.classify(exact.vae.sample(2000, draw=True)).probs.mean(0)
    torch.testing.assert_close(found, exact.log_p_y.exp(), atol=0.05, rtol=0)


# Training -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "batch"), [(1000, 100), (130, 60), (64, 7), (100, 1)])
def test_a_quarter_of_every_minibatch_is_labelled(n, batch):
    known = torch.zeros(n, dtype=torch.bool)
    known[::20] = True
    order = with_share(torch.randperm(n), known, seed=0)
    for rows in order.split(batch):
        assert abs(known[rows].sum() - len(rows) / 4) < 1
    assert known[order].sum() == -(-n // 4)
    counts = torch.bincount(order, minlength=n)
    assert counts[~known].max() == 1  # others at most once
    assert counts[known].max() - counts[known].min() <= 1  # those about equally often


def test_the_order_is_unchanged_where_labels_are_many_or_none():
    order = torch.randperm(40)
    for known in (torch.zeros(40) > 0, torch.ones(40) > 0, torch.arange(40) < 20):
        assert torch.equal(with_share(order, known, seed=0), order)


@pytest.mark.parametrize("batch", [20, 200])
def test_every_minibatch_of_training_has_the_classification_term(digits, batch):
    """Its weight would depend on the size of minibatches if some held no labelled data.

    The bounds of these data, which are repeated, count less.
    """
    seen, shares = [], []

    class Recording(SemiSupervised):
        def loss_and_grads(self, model, guide, x, y):
            seen.append(y)
            shares.append(self.share)
            return super().loss_and_grads(model, guide, x, y)

    options = {"objective": Recording(), "batch_size": batch, "compile": False, "progress": False}
    pvae.fit(small(), digits, epochs=1, **options)
    assert [int((y >= 0).sum()) for y in seen[-600 // batch :]] == [batch // 4] * (600 // batch)
    known = (digits.train.y >= 0).double().mean().item()
    assert shares[-600 // batch :] == [known] * (600 // batch)


def test_few_labels_are_enough_to_classify(digits):
    """Half as many errors as the classifier alone would make, roughly; and chance is 90 %."""
    vae = small(network=partial(pvae.networks.MLP, hidden=[64]))
    rate = partial(torch.optim.Adam, lr=3e-3)
    pvae.fit(vae, digits, epochs=12, optimizer=rate, keep="last", progress=False)
    probs = vae.classify(digits.batch(vae, "test")).probs
    assert evaluation.classification(probs, digits.test.y).error < 0.35


def test_clusters_are_found_without_labels():
    """Two far clusters, of which one has three times the data; p(y) learns it."""
    torch.manual_seed(0)
    y = (torch.rand(400) < 0.25).long()
    x = torch.randn(400, 3) * 0.3 + (4.0 * y - 2).unsqueeze(-1)
    data = pvae.data.load(x, validation=0)
    vae = pvae.build(
        (3,),
        1,
        prior=pvae.priors.StandardNormal,
        likelihood=pvae.likelihoods.Gaussian,
        network=NETWORK,
        conditional=["prior", "likelihood"],
        classes=2,
        classifier=pvae.classifiers.Softmax,
        class_prior="learned",
    )
    rate = partial(torch.optim.Adam, lr=2e-2)
    pvae.fit(vae, data, epochs=15, batch_size=50, optimizer=rate, keep="last", progress=False)
    found = vae.classify(data.train.x.float()).probs.argmax(-1)
    truth = (data.train.x.float().mean(-1) > 0).long()
    agreement = (found == truth).float().mean()
    assert max(agreement, 1 - agreement) > 0.98
    share = truth.float().mean().item()
    assert vae.labels.prior().probs.min().item() == pytest.approx(share, abs=0.1)


def test_a_run_is_saved_loaded_and_resumed_bit_for_bit(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "choose_mode", lambda *_: "eager")
    data = pvae.data.load("digits", labelled=50, labelled_seed=3)
    options = {"batch_size": 400, "seed": 1, "progress": False, "keep": "last"}
    whole, parts = small(class_prior="learned"), small(class_prior="learned")
    pvae.fit(whole, data, epochs=2, run=tmp_path / "whole", **options)
    pvae.fit(parts, data, epochs=1, run=tmp_path / "parts", warmup=1, **options)
    pvae.fit(parts, data, epochs=2, run=tmp_path / "parts", warmup=1, resume=True, **options)
    again = small(class_prior="learned")
    pvae.fit(again, data, epochs=2, run=tmp_path / "again", warmup=1, **options)
    loaded = pvae.load(tmp_path / "parts")
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name]), name
    x = data.batch(loaded, "test", n=5)
    assert torch.equal(loaded.classify(x).probs, again.classify(x).probs)
    reloaded = pvae.training.Run(tmp_path / "whole").data()
    assert torch.equal(reloaded.train.y, data.train.y)


def test_the_command_line(tmp_path, capsys):
    run = str(tmp_path / "run")
    options = ["--conditional", "true", "--classifier", "Softmax", "--labelled", "50"]
    sizes = ["--network.hidden", "[16]", "--latent_dim", "2", "--epochs", "1", "--warmup", "0"]
    main(["train", *options, *sizes, "--run", run, "--snapshots", "false"])
    printed = capsys.readouterr().out
    assert "classifier on 180 test items: error" in printed
    assert "reliability.png" in printed, printed
    assert (tmp_path / "run" / "figures" / "reliability.png").exists()
    main(["evaluate", run, "--estimator", "elbo"])
    assert "calibration error" in capsys.readouterr().out
    main(["sample", run, "--n", "4", "--out", str(tmp_path / "x.npy")])
    assert np.load(tmp_path / "x.npy").shape == (4, 1, 8, 8)
    with pytest.raises(SystemExit):
        main(["train", "--conditional", "true", "--labelled", "50", "--epochs", "1", "--run", run])
    assert "classifier" in capsys.readouterr().err


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"conditional": False, "classes": None}, "A classifier needs labels"),
        ({"classes": None, "label_dim": 2}, "A classifier needs labels that are classes"),
        ({"classifier": None, "class_prior": "learned"}, "class_prior is 'learned'"),
        ({"class_prior": "flat"}, "class_prior is 'flat'"),
        ({"classifier": lambda *_, **__: torch.nn.Linear(5, 10)}, "fails on x|expected a Categ"),
    ],
)
def test_bad_models(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        small((5,), **options)


def test_a_vae_without_classifier():
    vae = small((5,), classifier=None)
    with pytest.raises(ValueError, match="has no classifier"):
        vae.classify(torch.ones(2, 5))
    with pytest.raises(ValueError, match=r"give the VAE a classifier that .* classifier=Softmax"):
        pvae.fit(vae, pvae.data.load(torch.ones(9, 5), labels=[-1] * 9), progress=False)


def test_the_command_line_says_what_to_type(tmp_path, capsys):
    """The number of classes is that of the data, and no option."""
    files = {}
    for name, y in {"some": [0, 1, -1, -1], "continuous": [0.5, 1.5, 2.5, 3.5]}.items():
        files[name] = str(tmp_path / f"{name}.npz")
        np.savez(files[name], x=np.eye(4).repeat(5, 0), y=np.repeat(y, 5))
    for options, said in {
        ("--data", files["some"], "--conditional"): "sums over them, --classifier Softmax.",
        ("--data", files["some"], "--classifier", "Softmax"): "give --conditional true with it",
        ("--data", files["continuous"], "--conditional", "--classifier", "Softmax"): "the labels "
        "of continuous are continuous: leave it out",
    }.items():
        with pytest.raises(SystemExit):
            main(["train", *options, "--epochs", "1", "--run", str(tmp_path / "run")])
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 1, 2, 3] * 10, r"whole numbers from 0 to 2; these are not: shape \(10,\), 3, 3"),
        ([0, 1, -1, -1] * 10, "No datum of array is labelled as class 2"),
        ([0, 1, -2, 2] * 10, "whole numbers from 0 to 2; these are not"),
    ],
)
def test_bad_labels(labels, sentence):
    data = pvae.data.load(torch.rand(40, 5).round(), labels=labels, validation=0, test=0)
    with pytest.raises(ValueError, match=sentence):
        pvae.fit(small((5,), classes=3), data, progress=False)


def test_clusters_have_no_error():
    data = pvae.data.load("digits", labelled=0)
    assert reports.classes(small(), data, "test") is None


def test_elements_depend_on_each_other_by_the_class(exact, x):
    with pytest.raises(ValueError, match="Imputation needs the labels y"):
        evaluation.impute(exact.vae, x, torch.tensor([1, 1, 1, 0, 0]), progress=False)


@pytest.mark.parametrize(
    ("labelled", "sentence"),
    [
        (9, "labelled is 9, fewer than the 10 classes"),
        (5000, "there are only"),
        (-1, "labelled is -1"),
        (2.5, "labelled is 2.5"),
    ],
)
def test_bad_numbers_of_labels(labelled, sentence):
    with pytest.raises(ValueError, match=sentence):
        pvae.data.load("digits", labelled=labelled)


def test_labels_that_cannot_be_left_out():
    x = torch.randn(40, 5)
    with pytest.raises(ValueError, match="are continuous"):
        pvae.data.load(x, labels=torch.randn(40, 1), labelled=20)
    with pytest.raises(ValueError, match="have no labels"):
        pvae.data.load(x, labelled=20)


def test_unknown_labels_in_data():
    y = np.array([0.0, np.nan, 1.0, np.nan])
    data = pvae.data.load(torch.ones(4, 3), labels=y, validation=0, test=0)
    assert data.train.y.tolist() == [0, -1, 1, -1]
    assert data.label_sizes()["classes"] == 2
    with pytest.raises(ValueError, match="finite numbers"):
        pvae.data.load(torch.ones(4, 3), labels=y + 0.5, validation=0, test=0)
    data = pvae.data.load("digits", labelled=23, labelled_seed=1)
    counts = torch.bincount(data.train.y[data.train.y >= 0], minlength=10)
    assert counts.sum() == 23
    assert set(counts.tolist()) == {2, 3}
    assert (data.validation.y == -1).all()
    assert (data.test.y >= 0).all()
