"""Codes of MNIST: how many of 1,024 are used, and the length of an image in bits.

python -m results.codes
python -m results.codes FSQ "VQ, loss"
"""

import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

import pvae
from pvae.posteriors import FSQ, VQ
from pvae.priors import PixelCNN, UniformCodes
from results import frame

FOLDER = Path(__file__).parent
GRID, DIM, CODES = (4, 4), 5, 1024
EPOCHS, PRIOR_EPOCHS, SEED = 2, 1, 0
POSTERIORS: dict[str, Any] = {
    "FSQ": partial(FSQ, levels=[4] * DIM, grid=GRID),
    "VQ, averages, revival": partial(VQ, codes=CODES, grid=GRID),
    "VQ, averages": partial(VQ, codes=CODES, grid=GRID, revival=0.0),
    "VQ, loss, revival": partial(VQ, codes=CODES, grid=GRID, update="loss"),
    "VQ, loss": partial(VQ, codes=CODES, grid=GRID, update="loss", revival=0.0),
}


def measure(data: pvae.data.Dataset, posterior: Any) -> dict[str, float]:
    """Train on MNIST, count the codes of the test images, and fit a prior over codes."""
    network = partial(pvae.networks.MLP, hidden=[400])
    latent_dim = math.prod(GRID) * DIM
    vae = pvae.build(
        data.event_shape, latent_dim, UniformCodes, posterior=posterior, network=network, seed=SEED
    )
    rate = {"optimizer": partial(torch.optim.Adam, lr=1e-3), "seed": SEED}
    frame.fit(vae, data, epochs=EPOCHS, **rate)
    found = pvae.evaluation.code_usage(vae, data.batch(vae, "test"), progress=False)
    before = pvae.evaluation.evaluate(vae, data)
    pvae.refit_prior(vae, data, PixelCNN, epochs=PRIOR_EPOCHS, progress=False, **rate)
    after = pvae.evaluation.evaluate(vae, data)
    bits = 1 / math.log(2)
    return {
        "usage": found.usage,
        "perplexity": found.perplexity,
        "bits_of_image_given_codes": -before["log_likelihood"] * bits,
        "bits_of_codes_uniform": before["kl"] * bits,
        "bits_of_codes_fitted": after["kl"] * bits,
        "bits_per_image": after["neg_elbo"] * bits,
    }


def main() -> None:
    """Measure the posteriors that are named, by default all, and write results/codes.json."""
    file = FOLDER / "codes.json"
    results = frame.read(file)
    data = pvae.data.load("mnist")
    for name in sys.argv[1:] or POSTERIORS:
        results[name] = frame.rounded(measure(data, POSTERIORS[name]))
        print(name, results[name], flush=True)
        frame.save(file, results)


if __name__ == "__main__":
    main()
