"""Hierarchies of latents on equal time: one level, three nested levels, a top-down ladder.

    PVAE_DATA=DIR python -m results.hierarchies [mnist scripts colour]

DIR holds MNIST, or it is downloaded there. A cell is a model with a seed; those that are in
hierarchies.json are not measured again, so that a stopped run continues.

mnist
    MNIST, dynamically binarized, 60,000 images to train. All models have 32 latents, an MLP of one
    hidden layer of 300 as encoder and as decoder, Adam at 1e-3, batches of about 128, 1,000 steps
    of warm-up, and the same processor time: 25 s on one core after the first epoch, in which graphs
    are compiled; training ends with the epoch in which that is over, and keeps the last weights.
    The three levels of `Nested` have 32, 16 and 8 latents from the bottom up, those of `TopDown` 8,
    8 and 16 from the top down.

scripts
    The same on drawings of letters, of which no letter of the test is in the train part, as in
    Omniglot: a folder of pictures, in it one for each letter. They are 60 letters of each of 8
    scripts of the font DejaVu Sans, 20 drawings of each letter, with random size, slant, rotation
    and shift; a tenth of the letters is held out for the test. 45 s.

colour
    Bits per dimension of 32 × 32 colour patches of the two photographs of scikit-learn, under a
    discretized logistic mixture: residual networks with one level of 64 latents, and with levels of
    32, (4, 8, 8) and (2, 16, 16). Patches of the lowest quarter of each photograph are the test,
    none of which overlaps with those to train. Batches of 50, 100 steps of warm-up, 80 s.

The learning rate, Adam at 1e-3, is the same for all. log p(x) is by importance sampling with 200
samples on the first 500 test images (colour: 20 samples on 100), binarized once by seed 0, and
reported with its mean over 3 seeds. The figure has draws of `TopDown` with upper levels held.
"""

import itertools
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyro
import torch

import pvae
from pvae import likelihoods, networks, plots, posteriors, priors
from pvae.evaluation import active_units, kl_by_level, log_likelihood
from pvae.objectives import TraceMeanField_ELBO
from pvae.plots.style import Canvas
from results.frame import fit, options_of, read, rounded, save, test_images
from results.machine import machine

Measured = tuple[pvae.VAE, dict[str, Any]]

SEEDS = (0, 1, 2)
MLP = partial(networks.MLP, hidden=[300])
LATENTS = 32
DRAWS = 12  # of a row of the figure
MODELS: dict[str, dict[str, Any]] = {
    "one level": {},
    "Nested, three levels": {"prior": partial(priors.Nested, prior=priors.Nested)},
    "TopDown, three levels": {
        "prior": partial(priors.TopDown, hidden=100),
        "posterior": posteriors.TopDown,
    },
}
LEVELS = [32, (4, 8, 8), (2, 16, 16)]
RESNET = {"channels": [16, 24, 32], "blocks": 1}
COLOUR: dict[str, tuple[int, dict[str, Any]]] = {
    "one level": (64, {"network": partial(networks.ResNet, **RESNET)}),
    "TopDown, three levels": (
        800,
        {
            "network": partial(networks.ResNet, levels=LEVELS, **RESNET),
            "prior": partial(priors.TopDown, levels=LEVELS, channels=16),
            "posterior": posteriors.TopDown,
        },
    ),
}
# Scripts by the first and last code point of their letters.
SCRIPTS = {
    "Latin": (0x100, 0x17F),
    "Greek": (0x391, 0x3CE),
    "Cyrillic": (0x410, 0x451),
    "Armenian": (0x531, 0x586),
    "Georgian": (0x10D0, 0x10FA),
    "Arabic": (0x621, 0x6D5),
    "Canadian": (0x1401, 0x1450),
    "Braille": (0x2801, 0x2860),
}
LETTERS, DRAWINGS, HELD_OUT = 60, 20, 10
SIDE, PATCHES, TESTED = 32, 1250, 50  # of each photograph


# Data ---------------------------------------------------------------------------------------------


def draw_scripts(folder: Path) -> None:
    """Draw the letters, in a folder for each letter."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    rng = random.Random(0)
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for script, (first, last) in SCRIPTS.items():
        letters = [c for c in map(chr, range(first, last + 1)) if c.isalpha() or c >= "\u2800"]
        for number, letter in enumerate(rng.sample(letters, min(LETTERS, len(letters)))):
            part = "test" if number % HELD_OUT == 0 else "train"
            place = folder / part / f"{script}-{ord(letter):05x}"
            place.mkdir(parents=True)
            for drawing in range(DRAWINGS):
                font = ImageFont.truetype(str(path), rng.randint(56, 76))
                image = Image.new("L", (112, 112))
                at = (56 + rng.randint(-8, 8), 56 + rng.randint(-8, 8))
                ImageDraw.Draw(image).text(at, letter, fill=255, font=font, anchor="mm")
                slant = rng.uniform(-0.25, 0.25)
                matrix = (1, slant, -56 * slant, 0, 1, 0)
                image = image.transform(image.size, Image.Transform.AFFINE, matrix)
                image = image.rotate(rng.uniform(-12, 12))
                image.resize((28, 28), Image.Resampling.BOX).save(place / f"{drawing:02d}.png")


def scripts() -> pvae.data.Dataset:
    """The drawings, loaded as a folder of pictures."""
    with TemporaryDirectory() as folder:
        draw_scripts(Path(folder))
        return pvae.data.load(folder, validation=0)


def patches(seed: int = 0) -> pvae.data.Dataset:
    """Colour patches of the two photographs, those of their lowest quarter for the test."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for picture in load_sample_images().images:
        height, width, _ = picture.shape
        border = height * 3 // 4
        for part, low, high, n in (
            ("train", 0, border - SIDE, PATCHES),
            ("test", border, height - SIDE, TESTED),
        ):
            for top, left in zip(
                rng.integers(low, high, n), rng.integers(0, width - SIDE, n), strict=True
            ):
                patch = picture[top : top + SIDE, left : left + SIDE]
                found[part].append(patch.transpose(2, 0, 1))
    train, test = (
        pvae.data.load(torch.tensor(np.stack(x)), validation=0, test=0) for x in found.values()
    )
    return replace(train, test=test.train)


# Measuring ----------------------------------------------------------------------------------------


def batch_of(n: int, near: int) -> int:
    """A batch size near another that divides the data, so that one graph does."""
    return min((b for b in range(1, n) if n % b == 0), key=lambda b: abs(b - near))


def trained(
    vae: pvae.VAE,
    data: pvae.data.Dataset,
    seed: int,
    seconds: float,
    warmup: int = 1000,
    batch_size: int = 128,
    compile: bool = True,
) -> dict[str, Any]:
    """Train for some processor time after the first epoch."""
    began: list[float] = []

    def over(history: Any) -> bool:
        if not began:
            began.append(time.process_time())
        return time.process_time() - began[0] > seconds

    history = fit(
        vae,
        data,
        objective=TraceMeanField_ELBO(),
        epochs=1000,
        batch_size=batch_of(len(data.train), batch_size),
        warmup=warmup,
        keep="last",
        compile=compile,
        seed=seed,
        pause=over,
        monitor="neg_elbo",
    )
    epochs = len(history.rows)
    steps = history.rows[-1]["step"]
    return {
        "epochs": epochs,
        "steps": steps,
        "ms_per_step": 1000 * (time.process_time() - began[0]) * epochs / (epochs - 1) / steps,
        "train_neg_elbo": history.rows[-1]["train/neg_elbo"],
    }


def measured(vae: pvae.VAE, x: torch.Tensor, samples: int) -> dict[str, Any]:
    """log p(x) of test images, and the KL of the levels."""
    found = log_likelihood(vae, x, num_samples=samples, progress=False)
    kl = kl_by_level(vae, x[:200], progress=False).kl.double().mean(0)
    return {
        "log_prob": found.log_prob.double().mean().item(),
        "k_hat_above_0.7": found.unreliable_share,
        "active_units": active_units(vae, x, progress=False).count,
        "level_kl": kl.tolist(),
    }


def grey(data: pvae.data.Dataset, seconds: float, name: str, seed: int) -> Measured:
    """A model of binary images."""
    vae = pvae.build(data.event_shape, LATENTS, network=MLP, seed=seed, **MODELS[name])
    row = trained(vae, data, seed, seconds)
    return vae, row | measured(vae, test_images(vae, data, 500), 200)


def colour(data: pvae.data.Dataset, seconds: float, name: str, seed: int) -> Measured:
    """A model of colour patches."""
    latents, parts = COLOUR[name]
    likelihood = partial(likelihoods.DiscretizedLogisticMixture, components=3)
    vae = pvae.build(data.event_shape, latents, likelihood=likelihood, seed=seed, **parts)
    row = trained(vae, data, seed, seconds, batch_size=50, warmup=100, compile=False)
    row |= measured(vae, test_images(vae, data, 100), 20)
    size = math.prod(data.event_shape) * math.log(2)
    return vae, row | {"bits_per_dim": -row["log_prob"] / size}


def held(vae: pvae.VAE) -> Canvas:
    """Decoded draws with the upper levels of one draw held."""
    pyro.set_rng_seed(0)
    p = vae.p_z()
    with torch.no_grad():
        z = p.sample().expand(DRAWS, LATENTS)
        rows = [vae.decode(p.redraw(z, level)).mean for level in (1, 2)]
    return plots.redraws(torch.stack(rows))


PARTS: dict[
    str, tuple[Callable[[], pvae.data.Dataset], float, Callable[..., Measured], list[str]]
] = {
    "mnist": (lambda: pvae.data.load("mnist", validation=0), 25.0, grey, list(MODELS)),
    "scripts": (scripts, 45.0, grey, list(MODELS)),
    "colour": (patches, 80.0, colour, list(COLOUR)),
}


def verdict(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each model over its seeds, with its standard error."""
    found = {}
    for name in dict.fromkeys(key.rpartition(", seed")[0] for key in rows):
        values = [row["log_prob"] for key, row in rows.items() if key.startswith(f"{name}, seed")]
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        found[name] = {"log_prob": statistics.fmean(values), "standard_error": error}
    return rounded(found)


def main() -> None:
    """Measure what has not been, print, and write the JSON."""
    options = options_of(__doc__, PARTS, Path(__file__).parent)
    file = options.out / "hierarchies.json"
    results = read(file) | {"machine": machine()}
    for part in options.parts:
        load, seconds, measure, names = PARTS[part]
        cells = results.setdefault(part, {"seconds": seconds, "rows": {}})
        data = load()
        for seed, name in itertools.product(SEEDS, names):
            key = f"{name}, seed {seed}"
            if key in cells["rows"]:
                continue
            vae, row = measure(data, seconds, name, seed)
            if (part, seed, name) == ("mnist", 0, "TopDown, three levels"):
                plots.save(held(vae), options.out / "figures" / "hierarchies.png")
            cells["rows"][key] = rounded(row)
            cells["mean"] = verdict(cells["rows"])
            print(part, key, json.dumps(cells["rows"][key]), flush=True)
            save(file, results)


if __name__ == "__main__":
    main()
