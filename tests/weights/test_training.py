"""Uncertain weights in `fit`, run folders and the command line."""

import signal
from functools import partial

import pytest
import torch
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoDelta, AutoLaplaceApproximation, AutoNormal

import pvae
from pvae.cli.main import main
from pvae.training import Run
from pvae.weights import SGHMC, Weights

NETWORK = partial(pvae.networks.MLP, hidden=[8])
SAMPLER = {
    "optimizer": partial(SGHMC, cycle_steps=8, draws_per_cycle=3),
    "keep": "last",
    "patience": None,
}
CASES = {
    "mean field": (partial(Weights, posterior=AutoNormal), {}),
    "Laplace": (
        partial(Weights, parts=["likelihood.network.layers.3"], posterior=AutoLaplaceApproximation),
        {"keep": "last"},
    ),
    "sampler": (partial(Weights, posterior=AutoDelta, draws=4), SAMPLER),
}


@pytest.fixture(scope="module")
def data():
    x = (torch.rand(60, 6, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    return pvae.data.load(x, validation=20, test=10)


def train(case, data, **options):
    weights, own = CASES[case]
    vae = pvae.build((6,), 2, network=NETWORK, weights=weights)
    arguments = {"epochs": 6, "batch_size": 8, "compile": False, "progress": False} | own | options
    return vae, pvae.fit(vae, data, **arguments)


@pytest.mark.parametrize("case", CASES)
def test_a_run_saves_loads_and_resumes_bit_for_bit(case, data, tmp_path):
    vae, history = train(case, data, run=tmp_path / "whole")
    assert "validation/objective" in history.rows[0]
    train(case, data, run=tmp_path / "parts", pause=lambda h: len(h.rows) == 3)
    resumed, _ = train(case, data, run=tmp_path / "parts", resume=True)
    for found in (resumed, pvae.load(tmp_path / "whole"), pvae.load(tmp_path / "parts")):
        own, other = vae.state_dict(), found.state_dict()
        assert own.keys() == other.keys()
        for name, tensor in own.items():
            assert torch.equal(tensor, other[name]), name
    loaded = Run(tmp_path / "whole").vae()
    assert vae.weights.size == loaded.weights.size == 30
    if case == "sampler":
        assert vae.weights.count == 9
        assert vae.weights.chain.std(0).mean() > 0
    if case == "Laplace":
        assert vae.weights.factor.abs().sum() > 0
    x = data.batch(vae, "test")
    options = {"num_samples": 20, "num_weights": 4, "progress": False}
    both = [pvae.evaluation.log_likelihood(v, x, **options) for v in (vae, loaded)]
    assert torch.equal(both[0].over_weights, both[1].over_weights)
    assert both[0].over_weights.std(1).min() > 0
    assert torch.equal(vae.sample(5, seed=0), loaded.sample(5, seed=0))


def test_what_a_stop_within_an_epoch_leaves_is_at_the_medians(data, tmp_path):
    class Stopping(Trace_ELBO):
        steps = 0

        def loss_and_grads(self, *args):
            self.steps += 1
            if self.steps == 6:  # of four in an epoch
                signal.raise_signal(signal.SIGINT)
            return super().loss_and_grads(*args)

    run = tmp_path / "r"
    vae, history = train("mean field", data, objective=Stopping(), keep="last", run=run)
    assert history.stopped == "interrupted"
    last, snapshot = (
        Run(run).vae("last.safetensors"),
        Run(run).vae("snapshots/step-0000006.safetensors"),
    )
    for found in (vae, last, snapshot):
        for name, median in found.weights.at(found.weights.guide.median()).items():
            assert torch.equal(found.get_parameter(name), median), name


def test_a_new_prior_leaves_the_posterior_of_the_weights(data):
    vae, _ = train("mean field", data)
    before = {n: w.clone() for n, w in vae.weights.state_dict().items()}
    mixture = partial(pvae.priors.Mixture, components=3)
    pvae.refit_prior(vae, data, mixture, epochs=1, progress=False)
    assert all(torch.equal(w, before[n]) for n, w in vae.weights.state_dict().items())
    uncertain = pvae.build(
        (6,), 2, network=NETWORK, prior=mixture, weights=partial(Weights, parts=["prior"])
    )
    with pytest.raises(ValueError, match="weights of this VAE's prior"):
        pvae.refit_prior(uncertain, data, mixture, progress=False)


def test_draws_of_a_sampler_are_of_the_whole_run(data):
    with pytest.raises(ValueError, match="keep='last' and patience=None"):
        train("sampler", data, keep="best")
    for case, optimizer in (("sampler", torch.optim.Adam), ("mean field", SGHMC)):
        with pytest.raises(ValueError, match="and optimizer=SGHMC together"):
            train(case, data, optimizer=optimizer)


def test_the_command_line_has_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [
        *["train", "--data", "digits", "--epochs", "1", "--latent_dim", "2", "--run", "r"],
        *["--network.hidden", "[8]", "--weights", "Weights", "--weights.parts", "[likelihood]"],
        *["--weights.prior", "Laplace", "--weights.prior.scale", "2.0"],
        *["--weights.posterior", "AutoNormal", "--snapshots", "false"],
    ]
    main(arguments)
    config = Run("r").config["weights"]
    assert config["class_path"] == "pvae.weights.Weights"
    assert config["init_args"]["prior"]["init_args"]["scale"] == 2.0
    assert {"uncertainty.png", "weights.png"} <= {p.name for p in Run("r").figures.iterdir()}
    vae = pvae.load("r")
    assert vae.weights.prior.scales == {"": 2.0}
    few = ["--num_samples", "4"]
    main(["evaluate", "r", "--estimator", "importance", "--items", "3", *few])
    said = capsys.readouterr().out
    assert "log p(x), 3 items, 4 × 10 importance samples" in said
    assert "(samples)" in said
    assert "(weights)" in said
    main(["score", "r", "--part", "validation", "--correction", "disagreement", *few])
    assert "corrected by disagreement" in capsys.readouterr().out
    main(["train", "--resume", "r", "--epochs", "2"])
    with pytest.raises(SystemExit):
        main(["train", "--optimizer", "SGHMC", "--print_config"])
    assert "pvae.weights.SGHMC" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["train", "--weights.posterior.help"])
    assert "AutoLowRankMultivariateNormal" in capsys.readouterr().out
