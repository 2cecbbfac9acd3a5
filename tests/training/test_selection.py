"""Which epoch is kept, when training stops, and what is said of it."""

import json
from functools import partial

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

import pvae
from pvae.data import Batches
from pvae.objectives import (
    WAE,
    BetaELBO,
    CapacityELBO,
    Denoising,
    FreeBits,
    ImportanceWeighted,
    Warmup,
)
from pvae.training import Run
from pvae.training.selection import Monitor, choose_patience, choose_warmup, is_elbo, mean_loss

NETWORK = partial(pvae.networks.MLP, hidden=[32])
FAST = partial(torch.optim.Adam, lr=3e-2)
OBJECTIVES = {
    "IWAE": lambda: ImportanceWeighted(4),
    "beta": lambda: BetaELBO(0.1),
    "free bits": lambda: FreeBits(0.5),
    "WAE": lambda: WAE(5.0),
    "capacity": lambda: CapacityELBO(3.0, gamma=5.0, warmup_steps=20),
    "denoising": lambda: Denoising(0.2, objective=BetaELBO(0.1, warmup_steps=30)),
    "Rényi": lambda: pvae.objectives.RenyiELBO(0.5, num_particles=2),
}


@pytest.fixture(scope="module")
def digits():
    return pvae.data.load("digits")


def build(**arguments):
    return pvae.build(**{"event_shape": (1, 8, 8), "latent_dim": 2, "network": NETWORK} | arguments)


def fit(vae, data, **arguments):
    planned = {"epochs": 6, "optimizer": FAST, "compile": False, "progress": False}
    return pvae.fit(vae, data, **planned | arguments)


def validation(vae, data):
    return Batches(data, data.validation, vae.likelihood.domain, 128)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_best_epoch_is_that_of_the_objective_trained(digits, name):
    vae, objective = build(), OBJECTIVES[name]()
    history = fit(vae, digits, objective=objective)
    figures = history["validation/objective"]
    assert history.monitor == "validation/objective"
    assert history.best_epoch == 1 + figures.index(min(figures))
    # The weights are those of that epoch, and the figure is the objective at its final weight.
    if hasattr(objective, "step"):
        objective.step = 10**6
    with torch.random.fork_rng():
        found = mean_loss(objective, vae, validation(vae, digits))
    assert found == pytest.approx(min(figures), rel=1e-6)


def test_a_small_beta_is_not_judged_by_the_elbo(digits):
    """By the −ELBO, whose KL counts ten times as much, an earlier epoch would be kept."""
    objective = BetaELBO(0.05)
    planned = {"objective": objective, "epochs": 20, "patience": None}
    ours = fit(build(latent_dim=8), digits, **planned)
    theirs = fit(build(latent_dim=8), digits, monitor="neg_elbo", **planned)
    assert ours["validation/neg_elbo"] == theirs["validation/neg_elbo"]
    assert theirs.best_epoch < ours.best_epoch
    assert theirs.monitor == "validation/neg_elbo"


@pytest.mark.parametrize(
    ("monitor", "best"), [("neg_elbo", min), ("validation/log_likelihood", max)]
)
def test_another_figure_can_be_monitored(digits, monitor, best):
    history = fit(build(), digits, objective=BetaELBO(4.0), monitor=monitor)
    figures = history[f"validation/{monitor.removeprefix('validation/')}"]
    assert history.best_epoch == 1 + figures.index(best(figures))


def test_the_last_epoch_can_be_kept(digits, tmp_path):
    rate = partial(torch.optim.Adam, lr=0.1)  # too high to get better for long
    kept = {"optimizer": rate, "epochs": 12, "warmup": 0, "run": tmp_path / "run", "keep": "last"}
    vae = build()
    history = fit(vae, digits, **kept)
    assert history.best_epoch < history.kept_epoch == 12
    run = Run(tmp_path / "run")
    for weights in ("weights.safetensors", "last.safetensors"):
        found = run.restore(build(), weights).state_dict()
        assert all(torch.equal(found[n], w) for n, w in vae.state_dict().items())
    assert run.history.kept_epoch == 12
    assert run.history.best_epoch == history.best_epoch
    assert f"epoch 12, the last; epoch {history.best_epoch} had the lowest" in " ".join(
        history.notes
    )


def test_evaluating_the_objective_leaves_training_as_it_was(digits):
    """The same steps as with an objective that needs no separate evaluation."""

    class Same(Trace_ELBO):
        """Not known to be the ELBO."""

    first, second = build(), build()
    one = fit(first, digits, objective=Trace_ELBO(), warmup=0, keep="last")
    other = fit(second, digits, objective=Same(), warmup=0, keep="last")
    assert one["loss"] == other["loss"]
    assert "validation/objective" not in one
    assert other["validation/objective"][-1] == pytest.approx(
        one["validation/neg_elbo"][-1], rel=0.1
    )
    for name, w in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], w)


def test_resumed_it_chooses_the_same(digits, tmp_path):
    whole, parts = build(), build()
    arguments = {"objective": Denoising(0.2, objective=BetaELBO(0.2)), "warmup": 40}
    straight = fit(whole, digits, **arguments)
    fit(parts, digits, run=tmp_path / "run", **arguments | {"epochs": 3})
    resumed = fit(parts, digits, run=tmp_path / "run", resume=True, **arguments)
    for name in ("loss", "validation/objective"):
        assert resumed[name] == straight[name]
    assert all(torch.equal(parts.state_dict()[n], w) for n, w in whole.state_dict().items())


def test_a_warm_up_stays_what_it_was_when_the_run_began(digits, tmp_path):
    """Whatever epochs are added; and other warm-ups and figures make another run."""
    fit(build(), digits, epochs=2, run=tmp_path / "run")
    begun = Run(tmp_path / "run").config
    assert begun["warmup"] == round(0.1 * 24)
    assert begun["patience"] == 20
    fit(build(), digits, epochs=9, run=tmp_path / "run", resume=True)
    found = Run(tmp_path / "run").config
    assert {**found, "epochs": 2} == begun
    for change in ({"warmup": 7}, {"monitor": "neg_elbo"}, {"keep": "last"}):
        with pytest.raises(ValueError, match=f"cannot be resumed with {next(iter(change))}"):
            fit(build(), digits, epochs=9, run=tmp_path / "run", resume=True, **change)


def test_a_run_of_an_older_version_is_resumed_as_it_began(digits, tmp_path):
    arguments = {"objective": BetaELBO(0.2), "patience": None}
    old = {"warmup": 0, "monitor": "neg_elbo"}
    whole = build()
    fit(whole, digits, epochs=4, **arguments, **old)
    fit(build(), digits, epochs=2, run=tmp_path / "run", **arguments, **old)
    config = tmp_path / "run" / "config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(x for x in lines if x.split(":")[0] not in (*old, "keep")))
    record = tmp_path / "run" / "run.json"
    info = json.loads(record.read_text())
    record.write_text(json.dumps({k: v for k, v in info.items() if k != "checksums"}))
    resumed = build()
    fit(resumed, digits, epochs=4, run=tmp_path / "run", resume=True, objective=BetaELBO(0.2))
    assert all(torch.equal(resumed.state_dict()[n], w) for n, w in whole.state_dict().items())
    assert Run(tmp_path / "run").history.monitor == "validation/neg_elbo"


def test_what_is_planned_by_default():
    assert choose_warmup("auto", Trace_ELBO(), 1000) == 100
    assert choose_warmup("auto", WAE(), 1000) == choose_warmup(0, Trace_ELBO(), 1000) == 0
    assert choose_warmup("auto", BetaELBO(warmup_steps=5), 1000) == 0
    assert choose_warmup(50, Denoising(), 1000) == 50
    assert choose_patience("auto", 200, True, None) == 40
    assert choose_patience("auto", 5, True, None) == 20
    assert choose_patience("auto", 200, False, None) is None
    assert choose_patience("auto", 200, True, torch.optim.lr_scheduler.StepLR) is None
    assert choose_patience(None, 200, True, None) is None
    for objective in (WAE(), CapacityELBO(), BetaELBO(warmup_steps=5), Warmup(FreeBits())):
        with pytest.raises(ValueError, match=r"has no KL to warm up, or warms up by itself"):
            choose_warmup(50, objective, 1000)


def test_patience_does_not_count_while_the_kl_warms_up(digits):
    rate = partial(torch.optim.Adam, lr=0.1)
    history = fit(build(), digits, optimizer=rate, epochs=50, patience=1, warmup=12 * 20)
    assert history.stopped == "early"
    assert len(history.rows) > 20


def test_without_a_validation_part_the_last_epoch_is_kept():
    data = pvae.data.load(torch.rand(60, 1, 8, 8).round(), validation=0, test=0)
    history = fit(build(), data, epochs=2)
    assert any("epoch 2, the last, since there is no validation part" in n for n in history.notes)


def test_colours_that_become_binary_are_named():
    photos = pvae.data.load(torch.randint(256, (60, 3, 8, 8), dtype=torch.uint8))
    history = fit(build(event_shape=(3, 8, 8)), photos)
    said = "Each byte of the colour images becomes 0 or 1 (dynamic binarization)"
    assert any(note.startswith(said) for note in history.notes)
    vae = build(event_shape=(3, 8, 8), likelihood=pvae.likelihoods.DiscretizedLogistic)
    assert not any("becomes 0 or 1" in note for note in fit(vae, photos).notes)


def test_what_was_decided_is_said(digits, capsys):
    history = fit(build(), digits, epochs=3, patience=2, progress=True)
    err = capsys.readouterr().err
    assert "The KL warms up over the first 4 of 36 planned steps (warmup 0 for none)." in err
    assert "Training stops early after 2 epochs" in err
    assert "Kept: epoch 3 of 3, with the lowest validation −ELBO, " in err
    assert all(note in err for note in history.notes)
    quiet = fit(build(), digits, epochs=3, warmup=0)  # too short for the default patience
    assert capsys.readouterr().err == ""
    assert not any("warms up" in note or "early" in note for note in quiet.notes)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"monitor": "loss"}, "monitor is 'loss': it must be one of objective, neg_elbo"),
        ({"monitor": 3}, "monitor is 3"),
        ({"keep": "first"}, "keep is 'first': it must be 'best' or 'last'"),
        ({"monitor": "bits_per_dim"}, "which only a density or mass of bytes has"),
        ({"warmup": -1}, "warmup is -1"),
        ({"warmup": 1.5}, "warmup is 1.5"),
        ({"warmup": "long"}, "warmup is 'long'"),
        ({"patience": "long"}, "patience is 'long'"),
        ({"warmup": 9, "objective": WAE()}, "WAE has no KL to warm up"),
    ],
)
def test_bad_arguments(digits, arguments, sentence):
    with pytest.raises(ValueError, match=sentence) as raised:
        fit(build(), digits, **arguments)
    assert len(str(raised.value)) < 300


def test_the_elbo_is_known():
    assert is_elbo(TraceMeanField_ELBO(num_particles=2))
    assert is_elbo(Warmup(Trace_ELBO(), 5))
    assert not is_elbo(BetaELBO())
    assert Monitor("objective", Trace_ELBO(), None).name() == "validation/neg_elbo"
