import itertools
import json
import os
import signal
import threading
from functools import partial

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO
from torch.optim import lr_scheduler

import pvae
from pvae import openmp
from pvae.evaluation import summary
from pvae.objectives import BetaELBO
from pvae.storage import tensors
from pvae.training import Run, progress, trainer, writer
from tests.processes import forked

NETWORK = partial(pvae.networks.MLP, hidden=[32])


@pytest.fixture(scope="module")
def digits():
    return pvae.data.load("digits")


def build(**arguments):
    pyro.set_rng_seed(0)
    return pvae.build(**{"event_shape": (1, 8, 8), "latent_dim": 2, "network": NETWORK} | arguments)


def fit(vae, data, **arguments):
    return pvae.fit(vae, data, **{"epochs": 2, "progress": False} | arguments)


def weights(vae):
    return {name: w.clone() for name, w in vae.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], w) for name, w in b.items())


def test_training_beats_pixels_without_a_latent(digits):
    vae = build()
    history = fit(
        vae, digits, epochs=20, batch_size=64, optimizer=partial(torch.optim.Adam, lr=1e-2)
    )
    p = digits.train.x.float().div(16).mean(0)
    q = digits.test.x.float().div(16).mean(0)  # the best independent pixels, on the test part
    independent = -(q * p.clamp_min(1e-4).log() + (1 - q) * (1 - p).clamp_min(1e-4).log()).sum()
    test = pvae.evaluation.evaluate(vae, digits)
    assert test["neg_elbo"] < independent - 1
    assert test["kl"] > 1
    assert test["neg_elbo"] == pytest.approx(test["kl"] - test["log_likelihood"])
    assert history.best_epoch > 10


def test_history_holds_what_evaluation_says(digits):
    vae = build()
    history = fit(vae, digits, epochs=3)
    last = history.rows[-1]
    assert history.best_epoch == 3
    for name, value in pvae.evaluation.evaluate(vae, digits, "validation").items():
        assert last[f"validation/{name}"] == pytest.approx(value)
    assert last["step"] == 3 * -(-len(digits.train) // 128)
    assert last["loss"] == pytest.approx(last["train/neg_elbo"], rel=0.1)
    assert history["epoch"] == [1, 2, 3]
    assert len(pvae.plots.loss_curves(history).axes) == 3


def test_small_minibatches_are_evaluated_in_large_ones(digits, monkeypatch):
    sizes, elbo = [], summary.elbo
    monkeypatch.setattr(summary, "elbo", lambda vae, x: sizes.append(len(x)) or elbo(vae, x))
    vae = pvae.build(digits.event_shape, latent_dim=2)
    pvae.fit(vae, digits, epochs=1, batch_size=50, compile=False, progress=False)
    held = len(digits.validation)
    assert sizes == [held, held]  # of the train part as many as are held out


def test_the_best_epoch_is_kept(digits):
    vae = build()
    rate = partial(torch.optim.Adam, lr=0.1)  # too high to get better for long
    history = fit(vae, digits, epochs=12, optimizer=rate)
    assert history.best_epoch < 12
    found = pvae.evaluation.evaluate(vae, digits, "validation")["neg_elbo"]
    assert found == pytest.approx(min(history["validation/neg_elbo"]))


def test_early_stopping(digits):
    rate = partial(torch.optim.Adam, lr=0.1)
    history = fit(build(), digits, epochs=50, optimizer=rate, patience=2, warmup=0)
    assert history.stopped == "early"
    assert len(history.rows) == history.best_epoch + 2 < 50


@pytest.mark.skipif(not openmp._times(), reason="the system does not count how threads wait")
def test_threads_are_considerate_while_they_train(digits):
    def note(history):
        found.update(thread.name for thread in threading.enumerate())
        return False

    found = set()
    fit(build(), digits, epochs=2, pause=note)
    assert "pvae-openmp" in found
    assert "pvae-openmp" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    "objective",
    [
        Trace_ELBO(num_particles=2),
        Trace_ELBO(num_particles=2, vectorize_particles=True),
        TraceMeanField_ELBO(),
        TraceGraph_ELBO(),
        RenyiELBO(alpha=0.5, num_particles=2),
        BetaELBO(beta=2.0, warmup_steps=10),
    ],
    ids=lambda o: type(o).__name__,
)
def test_any_elbo(digits, objective):
    vae = build()
    before = weights(vae)
    history = fit(vae, digits, objective=objective)
    assert np.isfinite(history["loss"]).all()
    assert not any(torch.equal(before[name], w) for name, w in vae.state_dict().items())


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.Adam,
        partial(torch.optim.AdamW, weight_decay=0.1),
        partial(torch.optim.RMSprop, lr=1e-3),
        partial(torch.optim.SGD, lr=1e-2, momentum=0.9),
    ],
)
def test_any_optimizer(digits, optimizer):
    history = fit(build(), digits, epochs=4, optimizer=optimizer, clip_norm=10.0)
    assert history["validation/neg_elbo"][-1] < history["validation/neg_elbo"][0]


@pytest.mark.parametrize(
    "scheduler",
    [
        partial(lr_scheduler.ExponentialLR, gamma=1e-9),
        partial(lr_scheduler.ReduceLROnPlateau, factor=1e-9, patience=0, threshold=1e9),
    ],
)
def test_learning_rate_schedules(digits, scheduler, tmp_path):
    # A rate that vanishes after the first epochs leaves the weights where they are.
    fit(build(), digits, epochs=5, scheduler=scheduler, run=tmp_path / "run")
    run = Run(tmp_path / "run")
    # Twelve steps an epoch: the start, and within the first, the second and the fourth epoch.
    snapshots = [run.restore(build(), run.snapshots[s]).state_dict() for s in (0, 11, 23, 45)]
    moved = [
        max((a[name] - b[name]).abs().max().item() for name in a)
        for a, b in itertools.pairwise(snapshots)
    ]
    assert moved[0] > 1e-3
    assert moved[2] < 1e-6


@pytest.mark.parametrize("likelihood", ["binary", "relaxed", "fixed", "learned", "predicted"])
def test_likelihoods_on_bytes(digits, likelihood):
    families = {
        "binary": pvae.likelihoods.Bernoulli,
        "relaxed": partial(pvae.likelihoods.Bernoulli, relaxed=True),
        "fixed": partial(pvae.likelihoods.Gaussian, scale=0.5),
        "learned": partial(pvae.likelihoods.Gaussian, scale="learned"),
        "predicted": partial(pvae.likelihoods.Gaussian, scale="predicted"),
    }
    history = fit(build(likelihood=families[likelihood]), digits)
    has_bits = likelihood in ("fixed", "learned", "predicted")
    assert ("validation/bits_per_dim" in history) == has_bits
    if has_bits:
        nats = history["validation/neg_elbo"][-1] / 64
        bits = (nats + np.log(17)) / np.log(2)  # 17 levels of grey
        assert history["validation/bits_per_dim"][-1] == pytest.approx(bits)


@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_an_epoch_by_hand(clip_norm):
    """Plain gradient descent on the mean loss, in the order of the epoch, with a ragged end."""
    data = pvae.data.load(torch.rand(50, 1, 8, 8), validation=0, test=0, binarization="threshold")
    vae, by_hand = build().double(), build().double()
    rate = partial(torch.optim.SGD, lr=0.01)
    arguments = {"optimizer": rate, "clip_norm": clip_norm, "seed": 3, "warmup": 0}
    fit(vae, data, epochs=2, batch_size=20, **arguments)

    x = (data.train.x > 0.5).double()
    by_hand.likelihood.initialize(x.mean(0))
    torch.manual_seed(3)
    orders = [trainer._shuffle(50, 3, epoch)[0] for epoch in range(2)]
    assert not torch.equal(*orders)
    assert all(torch.equal(order.sort().values, torch.arange(50)) for order in orders)
    for order in orders:
        for rows in order.split(20):
            by_hand.zero_grad()
            loss = Trace_ELBO().differentiable_loss(by_hand.model, by_hand.guide, x[rows])
            (loss / len(rows)).backward()
            if clip_norm:
                torch.nn.utils.clip_grad_norm_(by_hand.parameters(), clip_norm)
            with torch.no_grad():
                for p in by_hand.parameters():
                    p -= 0.01 * p.grad
    for name, w in by_hand.state_dict().items():
        torch.testing.assert_close(vae.state_dict()[name], w, rtol=1e-7, atol=1e-9)


def test_the_decoder_begins_at_the_mean():
    mean = torch.rand(1, 8, 8)
    for network in (NETWORK, partial(pvae.networks.Conv, channels=[4], hidden=8)):
        for likelihood in (pvae.likelihoods.Bernoulli, pvae.likelihoods.Gaussian):
            vae = build(network=network, likelihood=likelihood)
            before = (
                vae.likelihood.raw(torch.zeros(1, 2))[0] - vae.likelihood.network.output_bias.mean()
            )
            vae.likelihood.initialize(mean)
            added = vae.likelihood.raw(torch.zeros(1, 2))[0] - before
            target = mean.logit() if likelihood is pvae.likelihoods.Bernoulli else mean
            assert (added - target).mean().abs() < 0.02
    predicted = build(likelihood=partial(pvae.likelihoods.Gaussian, scale="predicted"))
    scale = predicted.likelihood(torch.zeros(2)).stddev
    predicted.likelihood.initialize(mean)
    torch.testing.assert_close(predicted.likelihood(torch.zeros(2)).stddev, scale)


def test_a_prior_that_learns(digits):
    class Learned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = torch.nn.Parameter(torch.zeros(2))

        def forward(self):
            return pyro.distributions.Normal(self.loc, 1.0).to_event(1)

    built = build()
    vae = pvae.VAE(Learned(), built.likelihood, built.posterior)
    fit(vae, digits)
    assert (vae.prior.loc != 0).all()


def test_dropout_in_training_only(digits):
    modes = set()

    class Watched(TraceMeanField_ELBO):
        def loss_and_grads(self, model, *args):
            modes.add(model.__self__.training)
            return super().loss_and_grads(model, *args)

    vae = build(network=partial(pvae.networks.MLP, hidden=[32], dropout=0.5))
    history = fit(vae, digits, objective=Watched())
    assert modes == {True}
    assert not vae.training
    found = pvae.evaluation.evaluate(vae.train(), digits, "validation")
    assert found == pvae.evaluation.evaluate(vae.eval(), digits, "validation")
    assert found["neg_elbo"] == pytest.approx(min(history["validation/neg_elbo"]), rel=1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        partial(Trace_ELBO, num_particles=2, vectorize_particles=True),
        partial(BetaELBO, warmup_steps=30),
    ],
)
def test_an_objective_can_be_used_again(digits, tmp_path, objective):
    used = objective()
    first, second, resumed = build(), build(), build()
    fit(first, digits, objective=used, warmup=0)
    fit(build(), digits, objective=used, epochs=1, run=tmp_path / "run", warmup=0)
    fit(resumed, digits, objective=used, run=tmp_path / "run", resume=True)
    fit(second, digits, objective=used, warmup=0)
    assert same(weights(first), weights(second))
    assert same(weights(first), weights(resumed))


def test_same_seed_same_bits(digits):
    runs = []
    for seed in (0, 0, 1):
        vae = build()
        torch.rand(7)  # whatever came before does not matter
        fit(vae, digits, seed=seed)
        runs.append(weights(vae))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_two_in_a_row_are_each_trained(digits):
    first, second = build(), build()
    fit(first, digits)
    fit(second, digits)
    assert same(weights(first), weights(second))
    assert not same(weights(second), weights(build()))


def test_interrupted_and_resumed_equals_uninterrupted(digits, tmp_path):
    class CtrlC(TraceMeanField_ELBO):
        steps = 0

        def loss_and_grads(self, *args):
            self.steps += 1
            if self.steps in (7, 20):  # during the first and second epoch
                signal.raise_signal(signal.SIGINT)
            return super().loss_and_grads(*args)

    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    arguments = {
        "epochs": 3,
        "optimizer": torch.optim.AdamW,
        "scheduler": partial(lr_scheduler.StepLR, step_size=1),
        "warmup": 20,
    }
    objective = CtrlC()
    objective.steps = 100  # past the keys
    fit(build(), digits, objective=objective, run=straight, **arguments)
    objective = CtrlC()
    history = fit(build(), digits, objective=objective, run=stopped, **arguments)
    assert history.stopped == Run(stopped).info["stopped"] == "interrupted"
    assert objective.steps == 7
    for expected in ("interrupted", "finished"):
        history = fit(build(), digits, objective=objective, run=stopped, resume=True, **arguments)
        assert history.stopped == expected
    names = Run(straight).snapshots.values()
    for name in ("weights.safetensors", "last.safetensors", *names):
        assert (straight / name).read_bytes() == (stopped / name).read_bytes()
    rows = [{**row, "seconds": 0} for row in Run(straight).history.rows]
    assert rows == [{**row, "seconds": 0} for row in Run(stopped).history.rows]


def train(folder):
    pyro.set_rng_seed(0)
    network = partial(pvae.networks.MLP, hidden=[32], dropout=0.2)
    vae = pvae.build((1, 8, 8), 2, network=network)
    objective = BetaELBO(warmup_steps=20)
    resume = (folder / "run.json").exists()
    pvae.fit(
        vae, "digits", epochs=2, objective=objective, run=folder, progress=False, resume=resume
    )


def train_and_die(folder, function, left):
    """Train until this process is killed as it renames a file for such a time."""
    original = getattr(os, function)

    def deadly(source, target):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        original(source, target)

    setattr(os, function, deadly)
    writer.SECONDS_BETWEEN_CHECKPOINTS = 0  # after every step
    train(folder)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folders of a run without a kill, of one that was killed at moments, and of one that was
    killed while an empty folder was filled."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "filled").mkdir()
    assert forked(train_and_die, folder / "straight", "replace", 0) == 0
    # Before there is a run; in the first epoch; between two files of a checkpoint.
    moments = [("replace", 3), ("replace", 20), ("replace", 71)]
    for name, *when in [*(("killed", *moment) for moment in moments), ("filled", "rename", 3)]:
        assert forked(train_and_die, folder / name, *when) == -signal.SIGKILL
    return folder


def test_killed_at_several_moments_and_resumed_equals_uninterrupted(killed):
    (killed / "killed" / ".gitignore").write_text("of the user's own")
    assert any((killed / "killed").rglob(".*-*"))  # what was being written
    train(killed / "killed")
    assert [path.name for path in (killed / "killed").rglob(".*")] == [".gitignore"]
    names = Run(killed / "straight").snapshots.values()
    assert [*names] == [*Run(killed / "killed").snapshots.values()]
    for name in ("weights.safetensors", "last.safetensors", "config.yaml", *names):
        assert (killed / "straight" / name).read_bytes() == (killed / "killed" / name).read_bytes()
    assert Run(killed / "killed").info["stopped"] == "finished"
    pvae.load(killed / "killed")


def test_killed_while_an_empty_folder_is_filled(killed):
    run = killed / "filled"
    assert {path.name for path in run.iterdir()} & {"config.yaml", "snapshots", "state.pt"}
    with pytest.raises(FileNotFoundError, match="is incomplete"):
        Run(run)
    (run / "mine").write_text("precious")
    with pytest.raises(FileExistsError):
        Run.check_new(run)
    (run / "mine").unlink()
    train(run)
    assert not list(run.glob(".*"))
    pvae.load(run)


def test_more_epochs_on_resuming(digits, tmp_path):
    once, twice = tmp_path / "once", tmp_path / "twice"
    fit(build(), digits, epochs=4, run=once, warmup=20)
    fit(build(), digits, epochs=2, run=twice, warmup=20)
    fit(build(), digits, epochs=4, run=twice, resume=True)
    assert len(Run(once).snapshots) == len(Run(twice).snapshots) == 12
    for name in ("last.safetensors", "config.yaml", *Run(once).snapshots.values()):
        assert (once / name).read_bytes() == (twice / name).read_bytes()


def test_a_loss_that_is_not_finite_keeps_the_last_good_state(digits, tmp_path):
    class Broken(TraceMeanField_ELBO):
        steps = 0

        def loss_and_grads(self, *args):
            self.steps += 1
            loss = super().loss_and_grads(*args)
            return float("nan") if self.steps == 15 else loss

    vae = build()
    with pytest.raises(FloatingPointError, match=r"nan at step 15 \(epoch 2\)"):
        fit(vae, digits, objective=Broken(), run=tmp_path / "run")
    assert Run(tmp_path / "run").info["step"] == len(digits.train) // 128 + 1
    good = Run(tmp_path / "run").restore(build(), "last.safetensors")
    assert same(weights(vae), weights(good))


def test_a_table_that_is_not_standardized():
    """The encoder's scale overflows: a clear error, and no warning of Pyro's."""
    data = pvae.data.load(torch.rand(100, 5) * 20_000)
    vae = build(event_shape=(5,), likelihood=pvae.likelihoods.Gaussian)
    with pytest.raises(ValueError, match=r"rescale them to the order of 1 \(standardize the col"):
        fit(vae, data)


def test_an_error_of_the_objective_is_its_own(digits):
    class Refusing(TraceMeanField_ELBO):
        def loss(self, *args):
            raise ValueError("It takes no such programs.")

    with pytest.raises(ValueError, match="It takes no such programs"):
        fit(build(), digits, objective=Refusing())


def test_gradients_that_are_not_finite(digits, tmp_path):
    def explode(parameters):
        return torch.optim.SGD(parameters, lr=1e30)

    vae = build()
    before = weights(vae.posterior)
    with (
        pytest.raises(FloatingPointError, match=r"The loss is (nan|inf)"),
        pytest.warns(UserWarning, match="Encountered NaN"),
    ):
        fit(vae, digits, optimizer=explode, run=tmp_path / "run")
    assert same(weights(vae.posterior), before)
    assert same(weights(pvae.load(tmp_path / "run", vae=build())), weights(vae))
    with pytest.raises(FloatingPointError, match="after epoch 0"):  # and in one step an epoch
        fit(build(), digits, optimizer=explode, batch_size=len(digits.train))


def test_a_disk_that_fills_up_corrupts_nothing(digits, tmp_path, monkeypatch):
    fit(build(), digits, epochs=1, run=tmp_path / "run")
    held = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        fit(build(), digits, epochs=2, run=tmp_path / "run", resume=True)
    found = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert found == held


def test_arrays_of_reals(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    vae = pvae.build((5,), 2, likelihood=pvae.likelihoods.Gaussian, network=NETWORK)
    fit(vae, x, run=tmp_path / "run", batch_size=50)
    assert pvae.load(tmp_path / "run").sample(3).shape == (3, 5)
    with pytest.raises(ValueError, match="given by value"):
        Run(tmp_path / "run").data()


def test_float64(digits):
    vae = build().double()
    history = fit(vae, digits, epochs=1)
    assert vae.sample(1).dtype == torch.float64
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0"),
        ({"epochs": 1.5}, ValueError, "epochs is 1.5"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"device": "meta"}, ValueError, "device 'meta' is not available here"),
        ({"objective": Trace_ELBO}, TypeError, "must be an instance of a Pyro ELBO"),
        ({"optimizer": torch.optim.LBFGS}, ValueError, "LBFGS evaluates the loss several times"),
        ({"batch_size": 0}, ValueError, "batch"),
        ({"patience": 0}, ValueError, "patience is 0"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm is 0.0"),
        ({"device": "cuda:99"}, ValueError, "device 'cuda:99' is not available here"),
        ({"device": "gpu"}, ValueError, "device 'gpu' is not available here"),
        ({"resume": True}, ValueError, "pass run="),
        ({"resume": True, "run": "nowhere"}, FileNotFoundError, "no run folder nowhere"),
        (
            {"data": np.zeros((50, 9, 9))},
            ValueError,
            r"event shape \(1, 9, 9\), the VAE .* \(1, 8, 8\)",
        ),
        ({"data": np.full((50, 8, 8), np.nan)}, ValueError, "NaN"),
        ({"data": np.full((500, 8, 8), -1.0)}, ValueError, "likelihood needs binary"),
    ],
)
def test_bad_arguments(digits, arguments, error, sentence):
    arguments = {"data": digits} | arguments
    with pytest.raises(error, match=sentence) as raised:
        fit(build(), **arguments)
    assert "\n" not in str(raised.value)


def test_a_run_folder_is_not_overwritten(digits, tmp_path):
    (tmp_path / "precious").write_text("data")
    with pytest.raises(FileExistsError, match="exists already"):
        fit(build(), digits, run=tmp_path)
    assert os.listdir(tmp_path) == ["precious"]


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"batch_size": 64}, {"clip_norm": 1.0}, {"objective": TraceMeanField_ELBO()}],
)
def test_a_resumed_run_is_the_same_run(digits, tmp_path, change):
    fit(build(), digits, epochs=1, run=tmp_path / "run")
    with pytest.raises(ValueError, match=f"cannot be resumed with {next(iter(change))}"):
        fit(build(), digits, epochs=2, run=tmp_path / "run", resume=True, **change)


def test_resuming_needs_the_same_data(tmp_path):
    x = torch.rand(300, 1, 8, 8)
    fit(build(), x, epochs=1, run=tmp_path / "run")
    with pytest.raises(ValueError, match="cannot be resumed with these data"):
        fit(build(), x.flip(0), epochs=2, run=tmp_path / "run", resume=True)
    fit(build(), x, epochs=2, run=tmp_path / "run", resume=True)
    with pytest.raises(ValueError, match=r"epochs is 1: the run in .* has 2 already"):
        fit(build(), x, epochs=1, run=tmp_path / "run", resume=True)


def test_data_made_by_hand(tmp_path):
    x = torch.rand(100, 1, 8, 8).round()
    data = pvae.data.Dataset("mine", pvae.data.Part(x), "binary", (0.0, 1.0))
    fit(build(), data, run=tmp_path / "run", batch_size=50)
    assert pvae.load(tmp_path / "run", vae=build()).event_shape == (1, 8, 8)


def test_a_folder_that_is_there_and_empty(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(build(), digits, epochs=1, run=".")
    assert (tmp_path / "weights.safetensors").exists()
    pvae.load(".")


def test_the_type_of_the_weights_comes_back(digits, tmp_path):
    fit(build().double(), digits, epochs=1, run=tmp_path / "run")
    assert pvae.load(tmp_path / "run").dtype == torch.float64


def test_optimizer_state_of_other_shapes_is_refused(digits, tmp_path):
    fit(build(), digits, epochs=1, run=tmp_path / "run")
    path = tmp_path / "run" / "state.pt"
    state = tensors.read_state(path)
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)
    tensors.write_state(path, state)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    del info["checksums"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"exp_avg has shape \(3,\), not"):
        fit(build(), digits, epochs=2, run=tmp_path / "run", resume=True)


def test_a_factory_that_knows_its_parameters_is_resumed(digits, tmp_path):
    def once(**arguments):
        vae = build()
        groups = [{"params": list(p.parameters())} for p in (vae.likelihood, vae.posterior)]
        fit(vae, digits, optimizer=lambda _: torch.optim.Adam(groups), **arguments)
        return weights(vae)

    straight = once(epochs=2, warmup=0)
    once(epochs=1, warmup=0, run=tmp_path / "run")
    assert same(once(epochs=2, run=tmp_path / "run", resume=True), straight)


def test_loading_leaves_the_random_state(digits, tmp_path):
    fit(build(), digits, epochs=1, run=tmp_path / "run")
    state = torch.get_rng_state()
    pvae.load(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)


def test_lines_in_a_log_file(digits, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    fit(build(), digits, epochs=2, progress=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("validation" in line and "nats" in line for line in lines)


# Compiled -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [True, "auto"])
def test_compiled_training_is_training_and_resumed_as_it_was(digits, tmp_path, monkeypatch, begun):
    """Resumed bit for bit; and what was chosen is kept, whatever the clock says then."""
    monkeypatch.setattr(trainer, "choose_mode", lambda *_: "graph")
    # What Inductor makes of a graph has tests of its own.
    monkeypatch.setattr(torch._inductor, "compile", lambda module, *_, **options: module.forward)
    network = partial(pvae.networks.MLP, hidden=[8])
    eager, whole, parts = (build(network=network) for _ in range(3))
    objective = BetaELBO(warmup_steps=8)
    size = len(digits.train) // 3  # no smaller last batch, which would need a second graph
    assert len(digits.train) == 3 * size
    arguments = {"compile": begun, "objective": objective, "clip_norm": 1.0, "batch_size": size}
    expected = fit(eager, digits, epochs=4, **{**arguments, "compile": False})
    history = fit(whole, digits, epochs=4, **arguments)
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    for name, w in weights(eager).items():
        torch.testing.assert_close(whole.state_dict()[name], w, rtol=1e-2, atol=1e-3)
    fit(parts, digits, epochs=2, run=tmp_path / "run", **arguments)
    mode = "inductor" if begun is True else "graph"
    assert Run(tmp_path / "run").info["mode"] == mode
    monkeypatch.setattr(trainer, "choose_mode", lambda *_: pytest.fail("chosen again"))
    parts = pvae.load(tmp_path / "run")
    resumed = fit(parts, digits, epochs=4, run=tmp_path / "run", resume=True, **arguments)
    assert resumed["loss"] == history["loss"]
    assert same(weights(whole), weights(parts))
    assert Run(tmp_path / "run").info["mode"] == mode


def test_few_steps_are_not_worth_compiling(digits, tmp_path):
    fit(build(), digits, run=tmp_path / "run")
    assert Run(tmp_path / "run").info["mode"] == "eager"


class Rejecting(pvae.likelihoods.Bernoulli):
    """Branches on a sampled value, as no graph can."""

    def forward(self, z):
        if z.sum() > 1e9:
            z = 0 * z
        return super().forward(z)


def test_what_cannot_be_compiled(digits):
    vae = build(likelihood=Rejecting)
    with pytest.raises(ValueError, match=r"no static graph.*test_fit.py:\d+: if z.sum"):
        fit(vae, digits, compile=True)
    with pytest.raises(ValueError, match="compile is 'yes'"):
        fit(vae, digits, compile="yes")


def test_what_cannot_be_compiled_is_trained(digits, monkeypatch):
    monkeypatch.setattr(trainer, "choose_mode", lambda *_: "graph")
    with pytest.warns(RuntimeWarning, match="no static graph") as warned:
        history = fit(build(likelihood=Rejecting), digits)
    assert len(warned) == 1
    assert history["epoch"] == [1, 2]


def test_a_discriminator_is_trained_saved_and_resumed(digits, tmp_path):
    def objective():
        pyro.set_rng_seed(5)
        return pvae.objectives.FactorVAE(latent_dim=2, hidden=[8])

    whole, parts = build(), build()
    first = objective()
    before = [p.clone() for p in first.parameters()]
    fit(whole, digits, epochs=2, objective=first, warmup=20)
    assert not any(map(torch.equal, before, first.parameters()))
    fit(parts, digits, epochs=1, objective=objective(), run=tmp_path / "run", warmup=20)
    second = objective()
    fit(parts, digits, epochs=2, objective=second, run=tmp_path / "run", resume=True)
    assert all(map(torch.equal, second.parameters(), first.parameters()))
    assert same(weights(whole), weights(parts))


def test_levels_must_be_those_of_the_data(digits):
    vae = build(likelihood=pvae.likelihoods.Binomial)
    with pytest.raises(ValueError, match="have 17 levels, the likelihood Binomial 256"):
        fit(vae, digits)


def test_more_pseudo_inputs_than_data():
    vae = build(prior=partial(pvae.priors.VampPrior, components=50))
    with pytest.raises(ValueError, match="50 pseudo-inputs and 32 data"):
        fit(vae, torch.rand(40, 1, 8, 8).round(), batch_size=10)
