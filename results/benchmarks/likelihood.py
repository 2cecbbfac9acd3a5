"""The cost of log p(x) by 5,000 importance samples, its matrix products and pythae's get_nll.

    PVAE_DATA=DIR python -m results.benchmarks.likelihood [--images 10000]

The model is that of Burda et al. (2016), 784-200-200-50 with tanh, of binarized test images of
MNIST, or without DIR of random ones: time does not depend on the values. The matrix products are
the three of the decoder, 5,000 rows for each image, by `torch.mm` into preallocated
memory, in parts of as many rows as is fastest; half of them are timed before and half after pvae,
whose time includes compiling. pythae, by `pip install pvae[bench]`, estimates 100 images with the
same weights, and the estimates must agree. The peak of memory is that of the process.
"""

# OpenMP reads how threads wait when torch is imported.
import os

from pvae import openmp

os.environ.update(openmp.environment())

import argparse
import importlib.util
import json
import resource
import time
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

import pvae
from pvae.data.batches import batches_for
from pvae.evaluation import log_likelihood
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
NUM_SAMPLES = 5000
SIZES = (50, 200, 200, 784)
ROWS = (200, 250, 500, 1000, 2500)  # in a part
TRIED = 10  # images by which the number of rows is chosen
PYTHAE_IMAGES = 100


class Products:
    """The matrix products of a decoder, in parts of some rows."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self.parts = NUM_SAMPLES // rows
        self.z = torch.randn(rows, SIZES[0], device=device)
        pairs = list(pairwise(SIZES))
        self.weights = [torch.randn(pair, device=device) / pair[0] ** 0.5 for pair in pairs]
        self.outs = [torch.empty(rows, size, device=device) for size in SIZES[1:]]

    def seconds(self, images: int) -> float:
        """Time the products of some images."""
        synchronize(self.z.device)
        began = time.perf_counter()
        for _ in range(images * self.parts):
            h = self.z
            for weight, out in zip(self.weights, self.outs, strict=True):
                h = torch.mm(h, weight, out=out)
        synchronize(self.z.device)
        return time.perf_counter() - began


def fastest(device: torch.device) -> Products:
    """The products in the parts that take the least time."""
    ways = [Products(rows, device) for rows in ROWS]
    return min(ways, key=lambda way: min(way.seconds(TRIED) for _ in range(3)))


def measure(vae: pvae.VAE, x: Tensor, products: Products) -> tuple[dict, Tensor]:
    """Time the products of half of the images, pvae, and the products of the other half."""
    before = products.seconds(len(x) // 2)
    began = time.perf_counter()
    found = log_likelihood(vae, x, num_samples=NUM_SAMPLES)
    synchronize(vae.device)
    seconds = time.perf_counter() - began
    matrices = before + products.seconds(len(x) - len(x) // 2)
    return {
        "images": len(x),
        "rows_of_products": len(products.z),
        "products_s": round(matrices, 2),
        "pvae_s": round(seconds, 2),
        "pvae_over_products": round(seconds / matrices, 3),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }, found.log_prob


def time_pythae(vae: pvae.VAE, x: Tensor, log_prob: Tensor, seconds_each: float) -> dict:
    """Time pythae's estimator on some images, with the same networks."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = vae.posterior.network

        def forward(self, x: Tensor) -> ModelOutput:
            loc, log_scale = self.network(x).chunk(2, -1)
            return ModelOutput(embedding=loc, log_covariance=2 * log_scale)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = vae.likelihood.network

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.network(z).sigmoid())

    config = VAEConfig((1, 28, 28), SIZES[0], reconstruction_loss="bce")
    model = VAE(config, Encoder(), Decoder()).to(vae.device)
    x = x[:PYTHAE_IMAGES].to(vae.device)
    began = time.perf_counter()
    with torch.no_grad():
        estimate = model.get_nll(x, n_samples=NUM_SAMPLES, batch_size=500)
    synchronize(vae.device)
    each = (time.perf_counter() - began) / len(x)
    return {
        "images": len(x),
        "pythae_s_each": round(each, 4),
        "pvae_s_each": round(seconds_each, 4),
        "pythae_over_pvae": round(each / seconds_each, 2),
        "pythae_mean": round(float(estimate), 3),
        "pvae_mean": round(log_prob[: len(x)].mean().item(), 3),
        "version": version("pythae"),
    }


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = partial(pvae.networks.MLP, hidden=[200, 200], activation="tanh")
    vae = pvae.build((1, 28, 28), SIZES[0], network=network).to(options.device)
    if os.environ.get("PVAE_DATA"):
        data = pvae.data.load("mnist", validation=0)
        batches = batches_for(vae, data, data.test, 1000).arguments(seed=0)
        x = torch.cat([x for (x,) in batches])[: options.images].cpu()
    else:
        x = torch.bernoulli(torch.full((options.images, 1, 28, 28), 0.5))
    figures, log_prob = measure(vae, x, fastest(vae.device))
    result = {"machine": machine(), "num_samples": NUM_SAMPLES, "pvae": figures}
    if importlib.util.find_spec("pythae"):
        result["pythae"] = time_pythae(vae, x, log_prob, figures["pvae_s"] / len(x))
    text = json.dumps(result, indent=2) + "\n"
    print(text)
    options.out.write_text(text)


if __name__ == "__main__":
    main()
