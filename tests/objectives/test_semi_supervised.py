"""The objective for unknown labels: exact sums over classes, with any objective that it wraps."""

import logging
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO

import pvae
from pvae.inference import CompiledSVI, Optimizer
from pvae.objectives import (
    CIWAE,
    MIWAE,
    PIWAE,
    BetaELBO,
    BetaTC,
    Denoising,
    FreeBits,
    ImportanceWeighted,
    SemiSupervised,
    Warmup,
)
from pvae.objectives.semi_supervised import counted_once
from tests.evidence_cases import LabelledLinearGaussian

NETWORK = partial(pvae.networks.MLP, hidden=[6])
EVERY_PART = ["prior", "likelihood", "posterior"]
LABELS = {"some": [0, 2, -1, -1], "none": [-1] * 4, "all": [0, 1, 2, 0]}
WEIGHED = {
    "ELBO": Trace_ELBO,
    "ELBO, particles": partial(Trace_ELBO, num_particles=3, vectorize_particles=True),
    "ELBO, analytic KL": TraceMeanField_ELBO,
    "beta": partial(BetaELBO, 1.0),
    "denoising": partial(Denoising, 0.0),
    "importance weighted": ImportanceWeighted,
    "sticking the landing": partial(ImportanceWeighted, gradient="stl"),
    "doubly reparameterized": partial(ImportanceWeighted, gradient="dreg"),
    "one draw": partial(ImportanceWeighted, 1),
    "MIWAE": partial(MIWAE, 2, 3),
    "PIWAE": partial(PIWAE, 2, 3),
    "CIWAE": CIWAE,
}
ANALYTIC = ("ELBO, analytic KL", "beta")  # tight only on average


def small(seen, posterior=pvae.posteriors.DiagonalNormal):
    vae = pvae.build(
        (5,),
        2,
        posterior=posterior,
        network=NETWORK,
        conditional=seen,
        classes=3,
        classifier=pvae.classifiers.Softmax,
        class_prior="learned",
    ).double()
    vae.labels.logits.data = torch.tensor([0.1, -0.5, 0.3], dtype=torch.float64)
    x = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)).round().double()
    return vae, x


def step(objective, vae, *arguments):
    """The loss and the gradients by name, from given noise."""
    objective.loss(vae.model, vae.guide, *arguments)  # finds the plates
    vae.zero_grad()
    pyro.set_rng_seed(1)
    loss = objective.loss_and_grads(vae.model, vae.guide, *arguments)
    return loss, {n: p.grad.clone() for n, p in vae.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("known", LABELS)
@pytest.mark.parametrize("seen", [EVERY_PART, ["likelihood"], ["prior"]])
def test_it_is_the_enumeration_of_pyro(seen, known):
    vae, x = small(seen)
    y = torch.tensor(LABELS[known])
    loss, found = step(SemiSupervised(alpha=0), vae, x, y)
    reference, gradients = step(TraceEnum_ELBO(max_plate_nesting=1), vae, x, y)
    assert loss == pytest.approx(reference, rel=1e-12)
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


@pytest.mark.parametrize("share", [None, 0.01])
def test_it_is_a_loop_over_classes_by_hand(share):
    """Equations 6, 7 and 9, with closed-form KLs, and the likelihood at given noise.

    Half of the data are labelled; where those of all are a share of 0.01, bounds count that much.
    """
    vae, x = small(EVERY_PART)
    y = torch.tensor(LABELS["some"])
    objective = SemiSupervised(0.3, TraceMeanField_ELBO())
    of_known, of_unknown = (1.0, 1.0) if share is None else (share / 0.5, (1 - share) / 0.5)
    with counted_once(Denoising(0.0, objective=objective), share):
        loss, found = step(objective, vae, x, y)
    vae.zero_grad()
    pyro.set_rng_seed(1)
    noise = torch.randn(3, 4, 2, dtype=torch.float64)
    q_y = vae.classifier(x).logits.log_softmax(-1)
    total = 0.0
    for i, label in enumerate(y.tolist()):
        bounds = []
        for k in range(3):
            q, p = vae.encode(x[i], k), vae.p_z(k)
            z = q.mean + q.stddev * noise[k, i]
            kl = torch.distributions.kl_divergence(q, p)
            bounds.append(vae.decode(z, k).log_prob(x[i]) - kl + vae.labels.prior().logits[k])
        if label >= 0:
            total = total - of_known * bounds[label] - 0.3 * 4 / 2 * q_y[i, label]
        else:
            total = total - of_unknown * (q_y[i].exp() * (torch.stack(bounds) - q_y[i])).sum()
    total.backward()
    assert loss == pytest.approx(total.item(), rel=1e-12)
    for name, p in vae.named_parameters():
        torch.testing.assert_close(found[name], p.grad, msg=name)


@pytest.mark.parametrize("name", ["ELBO", "importance weighted", "PIWAE"])
def test_batches_with_labels_repeated_add_up_to_the_data(name):
    """Exact where the posteriors are, so that there is no noise of draws."""
    case = LabelledLinearGaussian()
    x, y = case.sample(12)
    y[1:] = -1
    exact = -case.joint(x)[1:].logsumexp(-1).sum() - case.joint(x)[0, y[0]]
    objective, total = SemiSupervised(0, WEIGHED[name]()), 0.0
    with counted_once(objective, 1 / 12):
        for first in range(1, 12):  # each with the labelled datum, and other 3 of the 11 others
            batch = [0, *(1 + (first + i) % 11 for i in range(3))]
            total += objective.loss(case.vae.model, case.vae.guide, x[batch], y[batch])
    assert total * 12 / 44 == pytest.approx(exact.item())
    assert objective.share is None


@pytest.mark.parametrize("name", [name for name in WEIGHED if name not in ANALYTIC])
def test_every_bound_is_tight_where_the_posteriors_are_exact(name):
    case = LabelledLinearGaussian()
    x, y = case.sample(6)
    y[:3] = -1
    joint = case.joint(x)
    exact = -joint[:3].logsumexp(-1).sum() - joint[range(3, 6), y[3:]].sum()
    objective = SemiSupervised(0, WEIGHED[name]())
    assert objective.loss(case.vae.model, case.vae.guide, x, y) == pytest.approx(exact.item())


@pytest.mark.parametrize("name", WEIGHED)
def test_known_labels_are_those_of_a_conditional_vae(name):
    """Where all are known, only log p(y) is added; gradients of the other parts are the same."""
    vae, x = small(EVERY_PART)
    y = torch.tensor(LABELS["all"])
    plain = pvae.VAE(vae.prior, vae.likelihood, vae.posterior, vae.labels, EVERY_PART)

    def average(objective, vae):
        runs = []
        for seed in range(40):
            vae.zero_grad()
            pyro.set_rng_seed(seed)
            loss = objective.loss_and_grads(vae.model, vae.guide, x, y)
            runs.append(torch.tensor([loss, vae.posterior.network.output_bias.grad.sum()]))
        runs = torch.stack(runs)
        return runs.mean(0), runs.std(0) / len(runs) ** 0.5

    with_sum, error = average(SemiSupervised(0, WEIGHED[name]()), vae)
    without, other = average(WEIGHED[name](), plain)
    without[0] -= vae.labels.prior().log_prob(y).sum().item()
    assert ((with_sum - without).abs() < 4 * (error**2 + other**2).sqrt() + 1e-6).all()


@pytest.mark.parametrize("name", ["sticking the landing", "doubly reparameterized", "PIWAE"])
def test_gradients_of_other_kinds_agree_in_the_classifier_and_the_model(name):
    """On average; over many draws at a time."""
    vae, x = small(EVERY_PART)
    many, y = x.repeat(400, 1), torch.tensor(LABELS["some"]).repeat(400)
    parameters = [f"{p}.network.output_bias" for p in ("classifier", "likelihood")]
    _, found = step(SemiSupervised(0.1, WEIGHED[name]()), vae, many, y)
    draws = 6 if name == "PIWAE" else 5
    _, plain = step(SemiSupervised(0.1, ImportanceWeighted(draws)), vae, many, y)
    for parameter in [n for n in plain if "classifier" in n or "likelihood" in n]:
        scale = plain[parameter].abs().max()
        assert (found[parameter] - plain[parameter]).abs().max() < 0.15 * scale, parameter
    assert parameters


def test_it_warms_up_with_what_it_wraps():
    vae, x = small(EVERY_PART)
    y = torch.tensor(LABELS["none"])
    warmed = Warmup(SemiSupervised(0, TraceMeanField_ELBO()), warmup_steps=10)
    warmed.step = 5
    loss, _ = step(warmed, vae, x, y)
    half, _ = step(SemiSupervised(0, BetaELBO(0.5)), vae, x, y)
    assert loss == pytest.approx(half, rel=1e-9)
    assert warmed.step == 6


@pytest.mark.parametrize("name", ["ELBO, particles", "beta", "doubly reparameterized"])
def test_it_runs_compiled(name):
    """Step by step, the losses and weights are those of the eager program."""
    found = []
    for kind in (pyro.infer.SVI, partial(CompiledSVI, compile=True, backend="graph")):
        vae, x = small(EVERY_PART)
        pyro.set_rng_seed(0)
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-2))
        svi = kind(vae.model, vae.guide, optim, SemiSupervised(0.5, WEIGHED[name]()))
        losses = [float(svi.step(x, torch.tensor(y))) for y in LABELS.values()]
        found.append((losses, torch.cat([p.detach().flatten() for p in vae.parameters()])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)
    torch.testing.assert_close(found[0][1], found[1][1])


@pytest.mark.parametrize(
    "objective",
    [FreeBits, partial(BetaTC, 100), RenyiELBO, partial(Denoising, 0.1, objective=FreeBits())],
)
def test_objectives_of_a_whole_batch_are_refused(objective):
    with pytest.raises(ValueError, match="cannot give weights to data"):
        SemiSupervised(objective=objective())


def test_bad_arguments():
    with pytest.raises(ValueError, match="alpha is -1"):
        SemiSupervised(-1)
    with pytest.raises(ValueError, match="build it with classifier="):
        pvae.fit(pvae.build((5,), 2), torch.ones(40, 5), objective=SemiSupervised())


def test_nothing_is_logged(monkeypatch):
    logged = []
    monkeypatch.setattr(logging.getLogger("pyro.infer.elbo"), "handle", logged.append)
    vae, x = small(EVERY_PART)
    for objective in (Trace_ELBO(), ImportanceWeighted(2)):
        SemiSupervised(objective=objective).loss(
            vae.model, vae.guide, x, torch.tensor([0, 2, -1, -1])
        )
    assert not logged
