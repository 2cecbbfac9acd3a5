from functools import partial

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import pvae
from pvae import plots
from pvae.cli import film, gallery
from pvae.cli.main import main
from pvae.training import Run

NETWORK = partial(pvae.networks.MLP, hidden=[16])


def train(folder, data="digits", latent_dim=2, epochs=2, snapshots=True, **parts):
    data = pvae.data.load(data)
    vae = pvae.build(data.event_shape, latent_dim, **{"network": NETWORK} | parts)
    pvae.fit(vae, data, epochs=epochs, run=folder, progress=False, snapshots=snapshots)
    return Run(folder), vae, data


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "two")


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "more", latent_dim=3)


@pytest.fixture
def titles(monkeypatch):
    """What each film is titled, instead of a film."""
    found = []
    monkeypatch.setattr(plots, "animate", lambda _, titles, *__, **___: found.extend(titles))
    monkeypatch.setattr(film, "_row", lambda _: Figure())  # which takes most time
    return found


def test_a_film_has_at_most_so_many_frames_and_leaves_the_vae_as_it_was(
    more, tmp_path, monkeypatch
):
    run, vae, data = more
    before = {name: w.clone() for name, w in vae.state_dict().items()}
    state = torch.get_rng_state()
    monkeypatch.setattr(film, "MOST_FRAMES", 4)
    paths = film.plot(run, vae, data, tmp_path)
    assert [path.name for path in paths] == ["epochs.png", "training.gif"]
    with Image.open(paths[1]) as shown:
        assert shown.n_frames == 4
    assert len(run.snapshots) + 1 == 11
    assert paths[1].stat().st_size < 3e6
    assert all(torch.equal(before[name], w) for name, w in vae.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_titles_say_the_step_and_the_epoch(two, titles, tmp_path):
    film.plot(*two, tmp_path)
    steps = [0, 1, 2, 3, 4, 6, 8, 11]
    assert titles[:8] == ["step 0", *[f"step {step}, epoch 1" for step in steps[1:]]]
    assert titles[8:] == ["step 16, epoch 2", "step 23, epoch 2", "step 24, epoch 2"]


def test_the_row_of_two_latents(two):
    figure = film._row(film.Moments(*two))
    maps, manifolds = figure.axes[:3], figure.axes[3:]
    expected = ["before training", "step 8, epoch 1", "step 24, epoch 2"]
    assert [axes.get_title() for axes in maps] == expected
    assert len({axes.get_xlim() for axes in maps}) == 1
    assert {axes.get_xlabel() for axes in [*maps, *manifolds]} == {"$z_1$"}


def test_the_row_of_more_latents(more):
    figure = film._row(film.Moments(*more))
    maps, pictures = figure.axes[:3], figure.axes[3:]
    assert maps[0].get_ylabel() == "t-SNE of 300 means"
    inputs = [axes.images[0].get_array()[:8] for axes in pictures]
    assert all(np.array_equal(inputs[0], x) for x in inputs)


def test_frames_have_the_same_inputs_the_same_noise_and_the_same_axes(more, monkeypatch):
    moments = film.Moments(*more)
    seen = {"samples": [], "reconstructions": []}
    for name, found in seen.items():
        monkeypatch.setattr(
            plots, name, lambda x, *more, found=found, **_: found.append((x, *more))
        )
    limits = set()
    for draw in film._frames(moments)[0][:2] * 2:
        figure = Figure()
        draw(figure.subfigures())
        limits.add(figure.axes[0].get_xlim())
    assert len(limits) == 1
    first, second, again, _ = (x for (x,) in seen["samples"])
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert (first - second).abs().max() < 0.1  # a step later from the same noise
    assert all(torch.equal(seen["reconstructions"][0][0], x) for x, _ in seen["reconstructions"])


@pytest.mark.parametrize(
    ("latent_dim", "data", "parts"),
    [
        (1, "digits", {}),
        (3, "digits", {"conditional": True, "classes": 10}),
        (4, "digits", {"prior": pvae.priors.OneHot, "posterior": pvae.posteriors.RelaxedOneHot}),
        (2, "table", {"likelihood": pvae.likelihoods.Gaussian}),
        (3, "counts", {"likelihood": pvae.likelihoods.Poisson}),
        (3, "few", {"likelihood": pvae.likelihoods.Gaussian}),
    ],
    ids=str,
)
def test_any_model(latent_dim, data, parts, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {
        "table": rng.normal(size=(200, 5)).astype(np.float32),
        "counts": rng.poisson(3, size=(200, 6)),
        "few": rng.normal(size=(6, 5)).astype(np.float32),
    }
    run = train(tmp_path / "run", arrays.get(data, data), latent_dim, epochs=1, **parts)
    animate = plots.animate

    def ends(pictures, titles, path, **options):  # the frames between would only take time
        assert len(pictures) == len(titles) > 1
        animate(pictures[:: len(pictures) - 1], titles[:: len(titles) - 1], path, **options)

    monkeypatch.setattr(plots, "animate", ends)
    for name, number in (("POINTS", 200), ("EMBEDDED", 60), ("TILES", 4)):
        monkeypatch.setattr(film, name, number)
    assert all(path.exists() for path in film.plot(*run))


def test_a_run_without_snapshots(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gallery, "plot", lambda *args, **options: [])
    run = train(tmp_path / "run", snapshots=False)
    with pytest.raises(film.TooShort, match=r"no snapshots .* trained with snapshots false"):
        film.plot(*run)
    main(["plot", str(run[0].path)])
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("No film: ")
    assert len(last) <= 300
    assert not (run[0].figures / "training.gif").exists()


def test_snapshots_after_the_last_good_step_are_not_shown(two, titles, tmp_path):
    run, vae, data = two
    shown = Run(run.path)
    shown.info = shown.info | {"step": 12}  # as a run that failed in its second epoch
    film.plot(shown, vae, data, tmp_path)
    assert titles[-2:] == ["step 11, epoch 1", "step 12, epoch 1"]
