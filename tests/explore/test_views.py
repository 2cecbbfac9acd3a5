"""What the explorer answers: places, decoded values and numbers, against the VAE itself."""

import base64
import io
import json
import struct
import zlib
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import pvae
from pvae import likelihoods, networks, posteriors, priors
from pvae.data import Dataset, Part
from pvae.evaluation import log_likelihood
from pvae.explore import Explorer, write_page
from pvae.explore.centring import find_centring
from pvae.explore.planes import Neighbours
from pvae.explore.spaces import Space
from tests.composition import POSTERIORS, PRIORS
from tests.posteriors_cases import prior_for

NETWORK = partial(networks.MLP, hidden=[8])


def encoded(values):
    return base64.b64encode(bytes(values)).decode()


def decoded(frames):
    kind = np.uint8 if "channels" in frames else np.dtype("<f4")
    return np.frombuffer(base64.b64decode(frames["data"]), kind).reshape(frames["count"], -1)


def table(n=60, d=6, seed=0):
    return pvae.data.load(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


def model(likelihood=likelihoods.Gaussian, latent_dim=4, data=None, **parts):
    """An explorer of an untrained VAE over a table."""
    vae = pvae.build((6,), latent_dim, likelihood=likelihood, network=NETWORK, **parts)
    return Explorer(vae, table(200) if data is None else data)


def ask(known, name, **request):
    """An answer, as it arrives in the browser."""
    return json.loads(json.dumps(known.answer(name, request), allow_nan=False))


def test_decoded_is_the_mean_of_the_likelihood(explorer):
    z = [[0.5, -1.0], [0.0, 0.0]]
    with explorer.vae.evaluating():
        mean = explorer.vae.decode(torch.tensor(z)).mean
    found = decoded(ask(explorer, "decode", z=z)["frames"])
    assert np.abs(found - 255 * mean.flatten(1).numpy()).max() <= 0.51


def test_a_point_of_the_plane_is_its_z(explorer):
    found = ask(explorer, "at", plane="pair", points=[[0.5, -1.0]])
    assert found["z"] == [[0.5, -1.0]]
    assert found["frames"] == ask(explorer, "decode", z=[[0.5, -1.0]])["frames"]


def test_the_plane_has_the_posterior_means_and_decoded_tiles(explorer):
    x = explorer.items.x
    found = ask(explorer, "plane", plane="pair", side=3)
    with explorer.vae.evaluating():
        assert np.allclose(found["points"], explorer.vae.encode(x).mean.numpy(), atol=1e-4)
    left, right, bottom, top = found["extent"]
    corner = [left + (right - left) / 6, top - (top - bottom) / 6]
    assert found["tiles"]["side"] == 3
    tiles = decoded(found["tiles"]["frames"])
    assert np.array_equal(tiles[0], decoded(ask(explorer, "decode", z=[corner])["frames"])[0])


def test_evidence_is_that_of_the_package(explorer):
    x = explorer.items.x[[7]]
    found = ask(explorer, "evidence", item=7)
    own = log_likelihood(explorer.vae, x, num_samples=found["samples"])
    assert found["log_prob"] == pytest.approx(own.log_prob.item(), rel=1e-5)
    assert found["standard_error"] == pytest.approx(own.standard_error.item(), rel=1e-4)
    assert found["pareto_k"] == pytest.approx(own.pareto_k.item(), rel=1e-4)
    scores = ask(explorer, "scores")
    assert len(scores["log_prob"]) == scores["total"] == len(explorer.items)
    assert scores["log_prob"][7] == pytest.approx(found["log_prob"], abs=1.0)


def test_a_datum_has_its_posterior(explorer):
    found = ask(explorer, "datum", item=3, planes=[{"plane": "pair"}])
    with explorer.vae.evaluating():
        q = explorer.vae.encode(explorer.items.x[[3]])
    assert np.allclose(found["mean"], q.mean[0], atol=1e-4)
    (place,) = found["places"]
    assert np.allclose(place["point"], found["mean"], atol=1e-4)
    assert np.allclose(np.diag(place["ellipse"]), q.variance[0], rtol=0.3)


def test_a_drawing_is_read_like_the_data(explorer):
    grey = np.linspace(0, 255, 64).astype(np.uint8)
    x = explorer.frames.unpack(grey.tobytes())
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert x.flatten()[0] == 0
    assert x.flatten()[-1] == 1
    found = ask(explorer, "datum", pixels=encoded(grey))
    assert decoded(found["x"])[0].tolist() == (255 * x.flatten()).int().tolist()
    assert ask(explorer, "evidence", pixels=encoded(grey))["log_prob"] < 0


def test_what_is_wiped_out_is_imputed(explorer):
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 1
    found = ask(explorer, "impute", item=3, mask=encoded(mask.tobytes()))
    x = decoded(ask(explorer, "datum", item=3)["x"]).reshape(8, 8)
    mean, draws = decoded(found["mean"]).reshape(8, 8), decoded(found["draws"]).reshape(3, 8, 8)
    assert np.array_equal(mean[:, :4], x[:, :4])
    assert 0 < mean[:, 4:].mean() < 255
    assert set(np.unique(draws)) == {0, 255}


def test_a_picture_file_is_cropped_to_the_shape_of_the_data(explorer):
    file = io.BytesIO()
    Image.new("RGB", (40, 20), "white").save(file, "PNG")
    frame = explorer.picture(file.getvalue())["frame"]
    assert (frame["height"], frame["width"], frame["channels"]) == (8, 8, 1)
    assert decoded(frame).min() == 255


def test_numbers_of_the_run(explorer, explored):
    numbers = ask(explorer, "model")["numbers"]
    assert numbers["curves"]["epochs"] == [1, 2]
    assert numbers["curves"]["lines"].keys() == {"training", "validation"}
    assert ["prior", "StandardNormal"] in numbers["settings"]
    assert numbers["evaluation"] is None


def test_latents_are_sorted_by_the_variance_of_their_means():
    latents = ask(model(), "model")["latents"]
    variance = [latent["variance"] for latent in latents]
    assert variance == sorted(variance, reverse=True)
    assert all(latent["low"] < -2 and latent["high"] > 2 for latent in latents)  # as the prior is


def test_principal_components_are_a_plane_through_latent_space():
    known = model()
    mean = known.items.mean
    plane = ask(known, "plane", plane="components")
    # A datum's place on the plane, moved back into latent space from itself, is itself.
    found = ask(known, "at", plane="components", points=[plane["points"][2]], base=mean[2].tolist())
    assert np.allclose(found["z"][0], mean[2], atol=1e-3)


def test_a_map_decodes_data_exactly():
    known = model()
    points = ask(known, "plane", plane="map")["points"]
    found = ask(known, "at", plane="map", points=points[:5])
    assert np.allclose(found["z"], known.items.mean[:5], atol=0.05)
    far = ask(known, "at", plane="map", points=[[1e4, 1e4]])
    assert far["items"][0] >= -1


def test_a_map_interpolates_between_neighbours(monkeypatch):
    means = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [9.0, 9.0, 9.0]])
    space = Space(pvae.build((6,), 3, likelihood=likelihoods.Gaussian, network=NETWORK))
    monkeypatch.setattr(
        "pvae.explore.planes.tsne_maps", lambda means: means[:, :, :2].astype(np.float64)
    )
    plane = Neighbours(means, space)
    z, items = plane.latents(torch.tensor([[0.0, 0.0], [0.3, 0.3]]), means[0])
    assert z[0].tolist() == [0, 0, 0]
    assert items == [0, -1]
    assert 0 < z[1, 0] < 0.5


SPACES = {
    "sphere": {"prior": priors.Hyperspherical, "posterior": posteriors.PowerSpherical},
    "ball": {"prior": priors.WrappedNormal, "posterior": posteriors.WrappedNormal},
    "binary": {"prior": priors.Bernoulli, "posterior": posteriors.RelaxedBernoulli},
    "one-hot": {
        "prior": partial(priors.OneHot, groups=2),
        "posterior": partial(posteriors.RelaxedOneHot, groups=2),
    },
    "codes": {
        "prior": priors.UniformCodes,
        "posterior": partial(posteriors.FSQ, levels=(3, 3)),
    },
    "real": {"prior": partial(priors.Nested, hidden=(8,))},
}


@pytest.mark.parametrize("kind", SPACES)
def test_every_kind_of_latents(kind):
    known = model(**SPACES[kind])
    answer = ask(known, "model")
    assert answer["space"]["kind"] == kind
    planes = [plane["id"] for plane in answer["planes"]]
    assert planes == (["map"] if known.space.is_discrete else ["pair", "components", "map"])
    # What the page may show is of the support, and decodes.
    assert ask(known, "decode", z=[answer["start"]])["frames"]["count"] == 1
    for plane in planes:
        found = ask(known, "at", plane=plane, points=[[0.3, -0.2], [50.0, 50.0]])
        assert ask(known, "decode", z=found["z"])["frames"]["count"] == 2
    if kind == "sphere":
        assert np.allclose(np.linalg.norm(found["z"], axis=-1), 1, atol=1e-4)
        inside = ask(known, "at", plane="pair", points=[[0.3, -0.2]])["z"][0]
        assert np.allclose(inside[:2], [0.3, -0.2], atol=1e-4)
    if kind == "ball":
        assert np.linalg.norm(found["z"], axis=-1).max() < 1
        inside = ask(known, "at", plane="pair", points=[[0.3, -0.2]])["z"][0]
        assert np.allclose(inside[:2], [0.3, -0.2], atol=1e-4)
    if kind in ("sphere", "ball", "binary", "one-hot"):
        with pytest.raises(ValueError, match="lies outside the support of the prior"):
            known.answer("decode", {"z": [[2.0, 2.0, 2.0, 2.0]]})


PARTS = {
    **{q: {"prior": prior_for(q), "posterior": make} for q, make in POSTERIORS.items()},
    **{p: {"prior": PRIORS[p]} for p in ("VampPrior", "Flow", "Autoregressive", "Mixture")},
    "PixelCNN": {"prior": PRIORS["PixelCNN"], "posterior": POSTERIORS["FSQ"]},
    "conditional": {"conditional": True, "classes": 3},
    "classifier": {"conditional": True, "classes": 3, "classifier": pvae.classifiers.Softmax},
    "weights": {"weights": pvae.weights.Weights},
}


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_answered_for(name, tmp_path):
    """Whatever the page may ask of a model is answered, and what it offers it can do."""
    x, y = torch.randn(60, 6), torch.arange(60) % 3
    vae = pvae.build((6,), 2, likelihood=likelihoods.Gaussian, network=NETWORK, **PARTS[name])
    if name == "classifier":
        y[::2] = -1  # unknown
    known = Explorer(vae, pvae.data.load(x, labels=y), most=4)
    answer = ask(known, "model")
    n, can = answer["items"]["count"], answer["can"]
    specs = [
        {"plane": plane["id"], **({"first": 0, "second": 1} if plane["id"] == "pair" else {})}
        for plane in answer["planes"]
    ]
    for spec in specs:
        assert len(ask(known, "plane", **spec)["points"]) == n
        at = ask(known, "at", **spec, points=[[0.3, -0.2]])
        assert ask(known, "decode", z=at["z"])["frames"]["count"] == 1
    datum = ask(known, "datum", item=0, planes=specs)
    assert ask(known, "decode", z=[answer["start"], datum["z"]])["frames"]["count"] == 2
    drawn = ask(known, "sample", n=3)
    again = ask(known, "decode", z=drawn["z"])["frames"]
    assert np.allclose(decoded(again), decoded(drawn["frames"]), atol=1e-3)
    assert (datum["classified"] is None) == (name != "classifier")
    if can["evidence"]:
        evidence = ask(known, "evidence", item=0)
        assert np.isfinite(evidence["log_prob"])
        assert evidence["effective_sample_size"] <= evidence["samples"]
        known.scores.wait()
        assert ask(known, "scores")["error"] is None
    if can["impute"]:
        found = ask(known, "impute", item=0, mask=encoded([1, 0, 0, 0, 0, 0]))
        assert np.isfinite(decoded(found["mean"])).all()
    write_page(known, tmp_path / "page.html")


def test_a_conditional_vae_is_shown_given_a_label():
    digits = pvae.data.load("digits")
    vae = pvae.build((1, 8, 8), 2, network=NETWORK, conditional=True, classes=10)
    known = Explorer(vae, digits, most=50)
    assert ask(known, "model")["labels"] == {"names": [*"0123456789"], "start": 0}
    three, four = (decoded(ask(known, "decode", z=[[0.0, 0.0]], y=y)["frames"]) for y in (3, 4))
    assert not np.array_equal(three, four)
    with vae.evaluating():
        mean = vae.decode(torch.zeros(1, 2), 3).mean.flatten(1)
    assert np.abs(three - 255 * mean.numpy()).max() <= 0.51
    assert ask(known, "sample", n=3, y=9)["frames"]["count"] == 3
    with pytest.raises(ValueError, match="0 to 9"):
        known.answer("decode", {"z": [[0.0, 0.0]], "y": 10})


def test_what_does_not_apply_is_not_offered():
    relaxed = model(partial(likelihoods.Bernoulli, relaxed=True), data=binary())
    assert ask(relaxed, "model")["can"] == {
        "evidence": False, "impute": False, "draw": False, "decode": True,
    }  # fmt: skip
    assert "no density" in ask(relaxed, "model")["refusals"]["evidence"]
    with pytest.raises(ValueError, match="no density"):
        relaxed.answer("scores", {})
    total = model(partial(likelihoods.Poisson, exposure="observed"), data=counts())
    assert ask(total, "model")["can"]["evidence"]
    assert not ask(total, "model")["can"]["impute"]
    assert ask(total, "model")["frames"]["log"]


def test_characters_are_placed_as_in_the_data():
    """Boxes of 20 pixels with their centre of mass in the middle, as MNIST has, and others."""
    generator = torch.Generator().manual_seed(0)
    ink = torch.zeros(30, 28, 28)
    for one in ink:
        one[4:24, 10:18] = 1
        one[4 : 4 + 8, 10 : 10 + int(torch.randint(1, 6, (), generator=generator))] = 0
    assert find_centring(ink) == ("box", 14.0, 14.0, 20.0)
    for one in ink:
        across = (one.sum(0) @ (torch.arange(28) + 0.5)) / one.sum()
        down = (one.sum(1) @ (torch.arange(28) + 0.5)) / one.sum()
        shift = (int((14 - down).round()), int((14 - across).round()))
        one.copy_(one.roll(shift, (0, 1)))
    found = find_centring(ink)
    assert found.by == "mass"
    assert (found.x, found.y) == pytest.approx((14, 14), abs=0.5)
    assert find_centring(1 - ink) is None  # no blank paper
    sizes = torch.zeros(30, 28, 28)
    for size, one in enumerate(sizes, 2):
        one[14 - size // 3 : 14 + size // 3 + 1, 14 - size // 3 : 14 + size // 3 + 1] = 1
    assert find_centring(sizes) is None


def test_columns_have_their_names(tmp_path):
    path = tmp_path / "plants.csv"
    path.write_text("height,label,width\n" + "1.5,a,2\n2.5,b,1\n" * 20)
    data = pvae.data.load(path)
    vae = pvae.build((2,), 2, likelihood=likelihoods.Gaussian, network=NETWORK)
    frames = ask(Explorer(vae, data), "model")["frames"]
    assert (frames["columns"], frames["element"]) == (["height", "width"], "column")
    assert ask(model(), "model")["frames"]["columns"] == []


def test_continuous_labels_have_a_range():
    x, y = torch.randn(60, 6), torch.linspace(-1, 3, 60).unsqueeze(1)
    data = pvae.data.load(x, labels=torch.cat([y, -y], 1))
    vae = pvae.build((6,), 2, likelihood=likelihoods.Gaussian, network=NETWORK, conditional=True,
        label_dim=2)  # fmt: skip
    known = Explorer(vae, data)
    labels = ask(known, "model")["labels"]
    assert labels["names"] is None
    assert labels["start"] == [0, 0]
    assert np.allclose(labels["high"], known.items.y.amax(0))
    low, high = (
        decoded(ask(known, "decode", z=[[0.0, 0.0]], y=[y, 0.0])["frames"]) for y in (0, 3)
    )
    assert not np.allclose(low, high)


def test_a_file_asks_of_each_datum_once(explorer, monkeypatch, tmp_path):
    known, asked = Explorer(explorer.vae, explorer.data, most=5), []
    answer = known.answer
    monkeypatch.setattr(
        known, "answer", lambda name, request: asked.append(name) or answer(name, request)
    )
    write_page(known, tmp_path / "page.html")
    assert asked.count("datum") == 5


def binary():
    return pvae.data.load(np.random.default_rng(0).integers(0, 2, (100, 6)).astype(bool))


def counts():
    return pvae.data.load(np.random.default_rng(0).poisson(3, (100, 6)))


def test_colour_images():
    x = torch.randint(0, 256, (60, 3, 6, 4), dtype=torch.uint8)
    data = Dataset("colours", Part(x[:50]), "bytes", (0.0, 255.0), test=Part(x[50:]))
    vae = pvae.build((3, 6, 4), 3, likelihood=likelihoods.Gaussian, network=NETWORK)
    known = Explorer(vae, data)
    frames = ask(known, "datum", item=0)["x"]
    shown = decoded(frames).reshape(6, 4, 3).transpose(2, 0, 1)
    assert np.abs(shown.astype(int) - x[50].numpy()).max() <= 1  # dequantized
    assert ask(known, "datum", pixels=frames["data"])["x"]["count"] == 1


BAD = {
    "decode": [
        ({}, "z must be a list of 1 to 800 lists of 2 numbers."),
        ({"z": [[1.0]]}, "z must be a list of 2 finite numbers."),
        ({"z": [[float("nan"), 0.0]]}, "z must be a list of 2 finite numbers."),
        ({"z": [["1", 0]]}, "z must be a list of 2 finite numbers."),
        ({"z": [[0, 0]] * 801}, "z must be a list of 1 to 800 lists of 2 numbers."),
        ({"z": [[10**400, 0]]}, "z must be a list of 2 finite numbers."),
    ],
    "at": [
        ({"plane": "map", "points": [[0, 0]]}, "There is no plane 'map' of these latents"),
        ({"plane": ["pair"], "points": [[0, 0]]}, "plane must be the name of a plane."),
        ({"plane": "pair", "first": 0, "second": 0, "points": [[0, 0]]}, "two different latents"),
        ({"plane": "pair", "first": 7, "points": [[0, 0]]}, "first must be a whole number"),
    ],
    "sample": [({"n": 10**9}, "n must be a whole number from 1 to 100.")],
    "items": [({"rows": [-1]}, "rows must be a whole number from 0 to 179.")],
    "datum": [
        ({}, "There is no datum"),
        ({"item": 180}, "item must be a whole number from 0 to 179."),
        ({"item": True}, "item must be a whole number from 0 to 179."),
        ({"pixels": encoded([0] * 63)}, "The picture has 63 values: this model takes 8 × 8"),
        ({"pixels": "?"}, "pixels must be text in base64."),
        ({"item": 0, "planes": "pair"}, "planes must be a list of at most 10 planes."),
        ({"item": 0, "planes": ["pair"]}, "plane must be the name of a plane."),
    ],
    "impute": [
        ({"item": 0, "mask": encoded([0] * 64)}, "Nothing is wiped out"),
        ({"item": 0, "mask": encoded([0] * 3)}, "mask has 3 bytes: expected 64"),
    ],
}


@pytest.mark.parametrize(
    ("name", "request_", "sentence"), [(name, *case) for name in BAD for case in BAD[name]]
)
def test_a_bad_request_is_one_sentence(explorer, name, request_, sentence):
    with pytest.raises(ValueError) as raised:  # noqa: PT011  (the message is compared)
        explorer.answer(name, request_)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_pictures_that_are_none(explorer):
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")

    def png(width, height):
        """The head of a PNG file of this size, which is all that is read of a large one."""
        head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        size, check = struct.pack(">I", 13), struct.pack(">I", zlib.crc32(head))
        return b"\x89PNG\r\n\x1a\n" + size + head + check + size + b"IDAT"

    for content, sentence in (
        (b"", "no picture"),
        (b"<svg/>", "no picture"),
        (whole.getvalue()[:200], "damaged or cut off"),
        (png(40_000, 30_000), "too many pixels"),  # 1.2 billion
        (png(9_000, 9_000), "9,000 × 9,000 pixels: give one of at most 80 million"),
    ):
        with pytest.raises(ValueError, match=sentence):
            explorer.picture(content)


def test_a_drawing_for_a_model_of_tables_is_refused():
    known = model()
    with pytest.raises(ValueError, match="over vectors of numbers, not pictures"):
        known.answer("datum", {"pixels": encoded([0] * 6)})
    with pytest.raises(ValueError, match="over vectors of numbers, not pictures"):
        known.picture(b"")


def test_scoring_that_fails_is_said(monkeypatch):
    known = model()
    ask(known, "model")

    def fail(*args):
        raise RuntimeError("the density is broken")

    monkeypatch.setattr("pvae.explore.items.score", fail)
    known.scores.wait()
    assert ask(known, "scores")["error"] == "the density is broken"
