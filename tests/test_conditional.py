"""Labels as context: conditional VAEs."""

from functools import partial

import numpy as np
import pyro
import pytest
import torch
from torch.distributions import kl_divergence

import pvae
from pvae.cli import film, gallery
from pvae.cli.main import main
from pvae.labels import Labels, join
from pvae.training import trainer

NETWORK = partial(pvae.networks.MLP, hidden=[64])


@pytest.fixture(scope="module")
def digits():
    return pvae.data.load("digits")


@pytest.fixture(scope="module")
def trained(digits):
    pyro.set_rng_seed(0)
    vae = pvae.build(digits.event_shape, 2, network=NETWORK, conditional=True, classes=10)
    rate = partial(torch.optim.Adam, lr=1e-2)
    pvae.fit(vae, digits, epochs=20, optimizer=rate, progress=False)
    return vae


def test_labels_as_vectors():
    classes = Labels(classes=3)
    assert torch.equal(classes(torch.tensor([[2, 0]])), torch.eye(3)[torch.tensor([[2, 0]])])
    continuous = Labels(dim=2)
    y = torch.randn(100, 2) * torch.tensor([3.0, 0.1]) + 5
    continuous.initialize(y)
    torch.testing.assert_close(continuous(y).mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(continuous(y).std(0, correction=0), torch.ones(2))
    constant = Labels(dim=1)
    constant.initialize(torch.ones(4, 1))
    assert torch.equal(constant(torch.ones(2, 1)), torch.zeros(2, 1))


@pytest.mark.parametrize("batch", [(), (4,), (5, 4)])
def test_labels_are_appended(batch):
    c = torch.randn(3).expand(*batch[-1:], 3)
    joined = join(torch.randn(*batch, 2), c, 1)
    assert joined.shape == (*batch, 5)
    assert torch.equal(joined[..., 2:], c.expand(*batch, 3))
    images = join(torch.randn(*batch, 2, 4, 4), c, 3)
    assert images.shape == (*batch, 5, 4, 4)
    assert torch.equal(images[..., 2:, 1, 3], c.expand(*batch, 3))
    sequences = join(torch.randn(*batch, 6, 2), c, 2)
    assert sequences.shape == (*batch, 6, 5)
    assert torch.equal(sequences[..., 4, 2:], c.expand(*batch, 3))


def test_threes_are_drawn_when_asked_for(trained, digits):
    """Of all class means, that of its own class is nearest to each sample."""
    x = digits.train.x.float() / 16
    means = torch.stack([x[digits.train.y == k].mean(0) for k in range(10)]).flatten(1)
    for k in range(10):
        drawn = trained.sample(50, y=k, seed=0).flatten(1)
        nearest = torch.cdist(drawn, means).argmin(1)
        assert (nearest == k).float().mean() > 0.8, k
    mixed = trained.sample(10, y=torch.arange(10), seed=0).flatten(1)
    assert (torch.cdist(mixed, means).argmin(1) == torch.arange(10)).float().mean() >= 0.8


def test_labels_save_information_in_the_latents(trained, digits):
    pyro.set_rng_seed(0)
    plain = pvae.build(digits.event_shape, 2, network=NETWORK)
    rate = partial(torch.optim.Adam, lr=1e-2)
    pvae.fit(plain, digits, epochs=20, optimizer=rate, progress=False)
    given = pvae.evaluation.evaluate(trained, digits)
    alone = pvae.evaluation.evaluate(plain, digits)
    assert given["neg_elbo"] < alone["neg_elbo"] - 1


def test_a_label_affects_the_parts_that_see_it():
    x, y, z = torch.rand(6, 1, 8, 8).round(), torch.arange(6), torch.randn(6, 2)
    parts = ("prior", "likelihood", "posterior")
    for seen in [("prior",), ("likelihood",), ("posterior",), parts]:
        vae = pvae.build((1, 8, 8), 2, network=NETWORK, conditional=seen, classes=10)
        other = (y + 1) % 10
        changed = {
            "prior": kl_divergence(vae.p_z(y), vae.p_z(other)).abs().sum() > 0,
            "likelihood": not torch.equal(vae.decode(z, y).mean, vae.decode(z, other).mean),
            "posterior": not torch.equal(vae.encode(x, y).mean, vae.encode(x, other).mean),
        }
        assert {part for part in parts if changed[part]} == set(seen)
        assert vae.conditional == seen
        svi = pyro.infer.SVI(
            vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), pyro.infer.Trace_ELBO()
        )
        assert np.isfinite(svi.step(x, y))
        assert vae.reconstruct(x, y).shape == x.shape
        assert vae.interpolate(x, x, 4, y=(y, other)).shape == (6, 4, 1, 8, 8)


def test_the_elbo_by_hand():
    vae = pvae.build((5,), 2, conditional=["prior", "likelihood"], classes=3).double()
    x, y = torch.rand(7, 5).round().double(), torch.arange(7) % 3
    pyro.set_rng_seed(1)
    loss = pyro.infer.TraceMeanField_ELBO().loss(vae.model, vae.guide, x, y)
    pyro.set_rng_seed(1)
    q, one_hot = vae.posterior(x), torch.eye(3).double()[y]
    z = q.rsample()
    p = vae.likelihood(torch.cat([z, one_hot], -1))
    by_hand = p.log_prob(x) - kl_divergence(q, vae.prior(one_hot))
    assert -by_hand.sum().item() == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize("seen", [True, ["prior", "posterior"]])
def test_continuous_labels(seen, tmp_path):
    """Rows whose level is the label, which the VAE need not encode."""
    generator = torch.Generator().manual_seed(0)
    y = 20 + 5 * torch.randn(400, 1, generator=generator)
    x = y + 0.1 * torch.randn(400, 6, generator=generator)
    data = pvae.data.load(x, labels=y)
    sizes = data.label_sizes()
    assert sizes == {"classes": None, "label_dim": 1}
    pyro.set_rng_seed(0)
    gaussian = pvae.likelihoods.Gaussian
    vae = pvae.build((6,), 1, likelihood=gaussian, network=NETWORK, conditional=seen, **sizes)
    rate = partial(torch.optim.Adam, lr=1e-2)
    pvae.fit(vae, data, epochs=40, optimizer=rate, run=tmp_path / "run", progress=False)
    low, high = (vae.sample(200, y=[level], seed=0).mean() for level in (15.0, 25.0))
    assert 7 < high - low < 13
    loaded = pvae.load(tmp_path / "run")
    assert torch.equal(loaded.labels.loc, vae.labels.loc)
    assert loaded.conditional == vae.conditional
    assert torch.equal(loaded.sample(3, y=20.0, seed=1), vae.sample(3, y=20.0, seed=1))


def test_training_is_compiled_as_it_is_eager(digits, monkeypatch):
    monkeypatch.setattr(trainer, "choose_mode", lambda *_: "graph")
    losses = []
    for compile in (False, "auto"):
        pyro.set_rng_seed(0)
        vae = pvae.build((1, 8, 8), 2, network=NETWORK, conditional=True, classes=10)
        losses.append(
            pvae.fit(vae, digits, epochs=2, compile=compile, progress=False)["loss"],
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_command_line(tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    command = ["train", "--conditional", "true", "--latent_dim", "2", "--epochs", "2"]
    monkeypatch.setattr(film, "plot", lambda *args, **options: [])  # has tests of its own
    with monkeypatch.context() as patched:  # plot draws the same pictures below
        patched.setattr(gallery, "plot", lambda *args, **options: [])
        main([*command, "--network.hidden", "[16]", "--run", str(run)])
        main(["train", "--resume", str(run), "--epochs", "3"])
    main(["sample", str(run), "--n", "12", "--out", str(tmp_path / "all.npy")])  # of every class
    main(["sample", str(run), "--label", "3", "--n", "4", "--out", str(tmp_path / "x.npy")])
    assert np.load(tmp_path / "x.npy").shape == (4, 1, 8, 8)
    main(["evaluate", str(run), "--seconds", "1"])
    for command in ("reconstruct", "interpolate", "encode", "plot"):
        main([command, str(run)])
    assert (run / "figures" / "plane.png").exists()
    capsys.readouterr()
    for argv, sentence in [
        (["sample", str(run), "--label", "10"], "--label 10 is not a class of this run"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        assert stopped.value.code == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Labels(), "give either classes or dim"),
        (lambda: Labels(2, 3), "give either classes or dim"),
        (lambda: Labels(classes=0), "classes is 0"),
        (lambda: pvae.build((5,), 2, conditional=True), "give conditional together with"),
        (lambda: pvae.build((5,), 2, classes=3), "give conditional together with"),
        (lambda: pvae.build((5,), 2, conditional=["decoder"], classes=3), "must name parts"),
        (
            lambda: pvae.build(
                (5,), 2, prior=pvae.priors.Mixture, conditional=["prior"], classes=3
            ),
            "The prior Mixture cannot see labels",
        ),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("y", [None, 3, -1, 0.5, [0, 7], torch.tensor(float("nan"))])
def test_bad_classes(y):
    vae = pvae.build((5,), 2, conditional=True, classes=3)
    with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
        vae.sample(2, y=y)


@pytest.mark.parametrize("y", [None, [1.0], [1.0, float("nan")], [[1.0, 2.0, 3.0]]])
def test_bad_continuous_labels(y):
    vae = pvae.build((5,), 2, conditional=True, label_dim=2)
    with pytest.raises(ValueError, match=r"vectors of 2 number\(s\)"):
        vae.sample(2, y=y)


def test_data_without_labels_or_with_others():
    vae = pvae.build((5,), 2, conditional=True, classes=3)
    x = torch.rand(40, 5).round()
    with pytest.raises(ValueError, match="give its labels y"):
        pvae.fit(vae, x, progress=False)
    with pytest.raises(ValueError, match="whole numbers from 0 to 2; these are not"):
        pvae.fit(vae, pvae.data.load(x, labels=torch.arange(40)), progress=False)
    with pytest.raises(ValueError, match="have no labels"):
        pvae.data.load(x).label_sizes()
