"""What a training step costs: pvae compared with Pyro, plain PyTorch, NumPyro and pythae.

    PVAE_DATA=DIR python -m results.benchmarks.training

Every method trains the same networks from the same weights on the same minibatches. They take
turns of a few steps, and the time of a step is the median over the turns. Whole epochs of MNIST,
data included, are timed where DIR holds it; NumPyro and pythae where they are installed, by
`pip install pvae[bench]`.
"""

# Threads of torch wait for each other as those of `pvae.fit` do, in all methods that use it. OpenMP
# reads this when torch is imported.
import os

from pvae import openmp

os.environ.update(openmp.environment())

import argparse
import copy
import importlib.util
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.infer import SVI, RenyiELBO, Trace_ELBO
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torch.utils.flop_counter import FlopCounterMode

import pvae
from pvae.plots import save
from pvae.plots.style import BLUE, WIDTH, Figure, style
from pvae.training.device import choose_device
from pvae.training.threads import threads_for
from results.benchmarks.products import products
from results.frame import AS_MEASURED
from results.machine import machine

POOL = 32  # minibatches, in a cycle
EPOCHS = 2
OUT = Path(__file__).with_suffix(".json")
FIGURE = Path(__file__).parents[1] / "figures" / "training-speed.png"


def binary(shape: torch.Size) -> Tensor:
    """Data of zeros and ones."""
    return torch.rand(shape).bernoulli()


def counts(shape: torch.Size) -> Tensor:
    """Data of small counts, most of them 0 as those of genes are."""
    return torch.poisson(torch.rand(shape).pow(4) * 8)


def bytes_(shape: torch.Size) -> Tensor:
    """Data of bytes."""
    return torch.randint(256, shape).float()


class Workload(NamedTuple):
    """A model, the data of a minibatch, and the samples of z of a bound; 0 is the ELBO.

    A part of its own, beside layers and a Bernoulli, is written for pvae alone.
    """

    model: str
    make: Callable[[], pvae.VAE]
    batch: int = 128
    samples: int = 0
    data: Callable[[torch.Size], Tensor] = binary
    part: bool = False


MNIST, MLP = (1, 28, 28), partial(pvae.networks.MLP, hidden=[400])
BURDA = partial(pvae.networks.MLP, hidden=[200, 200], activation="tanh")
GENES = partial(pvae.networks.MLP, hidden=[128], dropout=0.0)
VAMP = partial(pvae.priors.VampPrior, components=500)
ONE_LAYER = partial(pvae.build, MNIST, 20, network=MLP)
WORKLOADS = {
    "mlp": Workload("784-400-20, ReLU", ONE_LAYER),
    "iwae": Workload("784-400-20, IWAE with 50 samples", ONE_LAYER, batch=20, samples=50),
    "conv": Workload(
        "convolutional, 28 × 28, 20 latents",
        partial(pvae.build, MNIST, 20, network=pvae.networks.Conv),
    ),
    "digits": Workload("64-400-10, ReLU", partial(pvae.build, (1, 8, 8), 10, network=MLP)),
    "burda": Workload(
        "784-200-200-50, tanh", partial(pvae.build, MNIST, 50, network=BURDA), batch=20
    ),
    "counts": Workload(
        "2000-128-10, negative binomial",
        partial(
            pvae.build, (2000,), 10, likelihood=pvae.likelihoods.NegativeBinomial, network=GENES
        ),
        data=counts,
        part=True,
    ),
    "bytes": Workload(
        "convolutional, 3 × 32 × 32, 5 discretized logistics",
        partial(
            pvae.build,
            (3, 32, 32),
            64,
            likelihood=pvae.likelihoods.DiscretizedLogisticMixture,
            network=pvae.networks.Conv,
        ),
        batch=32,
        data=bytes_,
        part=True,
    ),
    "vamp": Workload("784-400-20, VampPrior of 500", partial(ONE_LAYER, prior=VAMP), part=True),
    "spline": Workload(
        "784-400-20, spline flow posterior",
        partial(ONE_LAYER, posterior=pvae.posteriors.SplineFlow),
        part=True,
    ),
}
EPOCHS_OF = {"epoch": "mlp", "epoch-burda": "burda"}  # workloads that whole epochs are timed of


class Method(NamedTuple):
    """A way to train: what takes a number of steps, and how many parameters it trains."""

    run: Callable[[int], object]
    learned: int


def networks(vae: pvae.VAE) -> tuple[nn.Sequential, nn.Sequential]:
    """The layers of the encoder, to location and log scale, and of the decoder, to logits."""
    return vae.posterior.network.layers, vae.likelihood.network.layers


def count(parameters: Iterable[Any]) -> int:
    """The number of elements of tensors or arrays."""
    return sum(int(np.prod(p.shape)) for p in parameters)


def repeat(step: Callable[[Tensor], object], batches: Tensor) -> Callable[[int], None]:
    """Take a number of steps, each on the next minibatch."""
    draw = itertools.cycle(batches)

    def run(steps: int) -> None:
        for x in itertools.islice(draw, steps):
            step(x)

    return run


# The methods: each makes a Method, of a VAE that it may keep, minibatches and samples of z --------


def pyro_svi(vae: pvae.VAE, batches: Tensor, samples: int) -> Method:
    """As in Pyro's example: modules registered by name, pixels by their probabilities."""
    learned = count(p for network in networks(vae) for p in network.parameters())
    return Method(repeat(pyro_step(vae, samples), batches), learned)


def pyro_step(vae: pvae.VAE, samples: int = 0) -> Callable[[Tensor], float]:
    """The step of SVI on two programs over the networks of a VAE."""
    encoder, decoder = networks(vae)
    latents = vae.prior().event_shape

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            loc, scale = x.new_zeros(len(x), *latents), x.new_ones(len(x), *latents)
            z = pyro.sample("z", dist.Normal(loc, scale).to_event(1))
            logits = decoder(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
            p = dist.Bernoulli(logits.sigmoid(), validate_args=False)
            pyro.sample("x", p.to_event(3), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            loc, log_scale = encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    loss = Trace_ELBO()
    if samples:
        loss = RenyiELBO(alpha=0, num_particles=samples, vectorize_particles=True)
    return SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss).step


def pytorch(vae: pvae.VAE, batches: Tensor, samples: int, compiled: bool) -> Method:
    """A loss written by hand, the KL of the ELBO in closed form."""
    encoder, decoder = networks(vae)
    bce = partial(F.binary_cross_entropy_with_logits, reduction="none")

    def negative_elbo(x: Tensor) -> Tensor:
        loc, log_scale = encoder(x).chunk(2, -1)
        scale = log_scale.exp()
        logits = decoder(loc + scale * torch.randn_like(scale))
        kl = 0.5 * (loc.square() + scale.square() - 1).sum() - log_scale.sum()
        return bce(logits, x).sum() + kl

    def negative_bound(x: Tensor) -> Tensor:
        loc, log_scale = encoder(x).chunk(2, -1)
        noise = torch.randn(samples, *loc.shape, device=x.device)
        z = loc + log_scale.exp() * noise
        logits = decoder(z.flatten(0, 1)).unflatten(0, (samples, -1))
        log_likelihood = -bce(logits, x.expand_as(logits)).flatten(2).sum(-1)
        ratio = (0.5 * (noise.square() - z.square()) + log_scale).sum(-1)  # log p(z) - log q(z|x)
        return -((log_likelihood + ratio).logsumexp(0) - math.log(samples)).sum()

    loss = negative_bound if samples else negative_elbo
    if compiled:
        mode = "reduce-overhead" if batches.is_cuda else "default"
        loss = torch.compile(loss, mode=mode)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, fused=True)

    def step(x: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(x).backward()
        optimizer.step()

    return Method(repeat(step, batches), count(parameters))


def ours(vae: pvae.VAE, batches: Tensor, samples: int, compiled: bool) -> Method:
    """The steps of an epoch of `pvae.fit`, by as many threads, of programs checked before."""
    optim = pvae.inference.Optimizer(vae.parameters(), torch.optim.Adam)
    optim.batch_size = batches.shape[1]
    inference = pvae.inference.CompiledSVI if compiled else SVI
    loss = pvae.objectives.ImportanceWeighted(samples) if samples else Trace_ELBO()
    svi = inference(vae.model, vae.guide, optim, loss)
    with FlopCounterMode(display=False) as counter:
        loss.loss(vae.model, vae.guide, batches[0])
    unwatched = svi.unwatched if compiled else nullcontext
    steps = repeat(svi.step, batches)

    def run(number: int) -> None:
        with pyro.validation_enabled(False), threads_for(counter.get_total_flops()), unwatched():
            steps(number)

    return Method(run, count(vae.parameters()))


def pythae_vae(vae: pvae.VAE, batches: Tensor, samples: int) -> Method:
    """pythae's VAE or IWAE around the same networks, and the step of its trainer."""
    from pythae.models import IWAE, VAE, IWAEConfig, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self, layers: nn.Module) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: Tensor) -> ModelOutput:
            loc, log_variance = self.layers(x).chunk(2, -1)
            return ModelOutput(embedding=loc, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self, layers: nn.Module) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(z).sigmoid())

    encoder, decoder = networks(vae)
    shape, latents = tuple(vae.event_shape), vae.prior().event_shape.numel()
    sizes = {"input_dim": shape, "latent_dim": latents, "reconstruction_loss": "bce"}
    config = IWAEConfig(**sizes, number_samples=samples) if samples else VAEConfig(**sizes)
    kind = IWAE if samples else VAE
    model = kind(config, Encoder(encoder), Decoder(decoder)).to(vae.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(x: Tensor) -> float:
        loss = model({"data": x}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return Method(repeat(step, batches), count(model.parameters()))


def numpyro_svi(vae: pvae.VAE, batches: Tensor, samples: int) -> Method:
    """NumPyro's SVI on the same networks in plain JAX, its steps one compiled loop."""
    import jax
    import numpyro
    import numpyro.distributions as dist

    encoder_parameters, encode = in_jax(networks(vae)[0])
    decoder_parameters, decode = in_jax(networks(vae)[1])
    latents = vae.prior().event_shape

    def model(x: jax.Array) -> None:
        parameters = numpyro.param("decoder", decoder_parameters)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand(latents).to_event(1))
            logits = decode(parameters, z)
            numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(3), obs=x)

    def guide(x: jax.Array) -> None:
        parameters = numpyro.param("encoder", encoder_parameters)
        with numpyro.plate("data", len(x)):
            loc, log_scale = jax.numpy.split(encode(parameters, x), 2, -1)
            numpyro.sample("z", dist.Normal(loc, jax.numpy.exp(log_scale)).to_event(1))

    device = jax.devices("gpu" if batches.is_cuda else "cpu")[0]
    xs = jax.device_put(batches.numpy(force=True), device)
    loss = numpyro.infer.Trace_ELBO()
    if samples:
        loss = numpyro.infer.RenyiELBO(alpha=0, num_particles=samples)
    svi = numpyro.infer.SVI(model, guide, numpyro.optim.Adam(1e-3), loss)
    state = jax.device_put(svi.init(jax.random.PRNGKey(0), xs[0]), device)
    learned = count(jax.tree.leaves(svi.get_params(state)))

    @partial(jax.jit, donate_argnums=0)
    def loop(state: Any, xs: jax.Array, steps: int) -> Any:
        return jax.lax.fori_loop(0, steps, lambda i, s: svi.update(s, xs[i % POOL])[0], state)

    def run(steps: int) -> None:
        nonlocal state
        state = jax.block_until_ready(loop(state, xs, steps))

    return Method(run, learned)


def in_jax(network: nn.Sequential) -> tuple[list[list[Any]], Callable]:
    """The same layers in plain JAX: their parameters, and a function of these and the input."""
    from jax import lax
    from jax import nn as jnn
    from jax import numpy as jnp

    def apply(parameters: list[list[Any]], x: Any) -> Any:
        for layer, p in zip(network, parameters, strict=True):
            match layer:
                case nn.Linear():
                    x = x @ p[0].T + p[1]
                case nn.ReLU():
                    x = jnn.relu(x)
                case nn.Tanh():
                    x = jnp.tanh(x)
                case nn.Flatten():
                    x = x.reshape(len(x), -1)
                case nn.Unflatten():
                    x = x.reshape(len(x), *layer.unflattened_size)
                case nn.Conv2d():
                    pad, names = [(n, n) for n in layer.padding], ("NCHW", "OIHW", "NCHW")
                    x = lax.conv_general_dilated(
                        x, p[0], layer.stride, pad, dimension_numbers=names
                    )
                    x += p[1][:, None, None]
                case nn.ConvTranspose2d():
                    sizes = zip(layer.kernel_size, layer.padding, layer.output_padding, strict=True)
                    pad = [(k - 1 - n, k - 1 - n + more) for k, n, more in sizes]
                    x = lax.conv_general_dilated(
                        x,
                        jnp.flip(p[0], (2, 3)),
                        (1, 1),
                        pad,
                        lhs_dilation=layer.stride,
                        dimension_numbers=("NCHW", "IOHW", "NCHW"),
                    )
                    x += p[1][:, None, None]
                case _:
                    raise TypeError(f"{type(layer).__name__} is not written in JAX here.")
        return x

    return [[jnp.asarray(p.numpy(force=True)) for p in m.parameters()] for m in network], apply


def matrix_products(vae: pvae.VAE, batches: Tensor, samples: int) -> Method:
    """The products, or convolutions, of every step, on random numbers."""
    loss = pvae.objectives.ImportanceWeighted(samples) if samples else Trace_ELBO()
    step = products(lambda: loss.loss_and_grads(vae.model, vae.guide, batches[0]))
    if batches.is_cuda:  # as one graph, or the launches would be measured
        step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        step = graph.replay
    return Method(repeat(lambda x: step(), batches), count(vae.parameters()))


METHODS: dict[str, Callable[[pvae.VAE, Tensor, int], Method]] = {
    "Pyro SVI": pyro_svi,
    "PyTorch, eager": partial(pytorch, compiled=False),
    "PyTorch, compiled": partial(pytorch, compiled=True),
    "pvae, eager": partial(ours, compiled=False),
    "pvae, compiled": partial(ours, compiled=True),
    "NumPyro": numpyro_svi,
    "pythae": pythae_vae,
    "matrix products": matrix_products,
}
OF_PARTS = ("pvae, eager", "pvae, compiled", "matrix products")  # all that a part of ours can use
REFERENCES = ("PyTorch, compiled", "Pyro SVI", "matrix products")  # of the ratios
COMPILED = ("PyTorch, compiled", "pvae, compiled")
OPTIONAL = {"NumPyro": "numpyro", "pythae": "pythae"}
PACKAGES = ("pyro-ppl", "numpyro", "jax", "pythae")
BAR = "#B8B8B8"


def installed(device: torch.device) -> list[str]:
    """The methods that can run here; a line is printed for each that cannot."""
    missing = {name for name, module in OPTIONAL.items() if not importlib.util.find_spec(module)}
    for name in missing:
        print(f"Without {name}, which is not installed: pip install pvae[bench]")
    if device.type == "cuda" and "NumPyro" not in missing:
        # JAX would take most of the memory for itself.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax

        if jax.default_backend() != "gpu":
            print("Without NumPyro, whose JAX does not see the GPU: pip install 'jax[cuda13]'")
            missing.add("NumPyro")
    return [name for name in METHODS if name not in missing]


# Measuring ----------------------------------------------------------------------------------------


def now(device: torch.device) -> float:
    """The time, once the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def make(
    workload: str, names: Iterable[str], device: torch.device
) -> tuple[pvae.VAE, dict[str, Method]]:
    """A VAE, and methods to train it, each with its own copy."""
    torch.compiler.reset()
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    of = WORKLOADS[workload]
    vae = of.make().to(device)
    batches = of.data(torch.Size((POOL, of.batch, *vae.event_shape))).to(device)
    names = [name for name in names if not of.part or name in OF_PARTS]
    return vae, {name: METHODS[name](copy.deepcopy(vae), batches, of.samples) for name in names}


def measure(
    workload: str, names: Iterable[str], device: torch.device, rounds: int, steps: int
) -> dict[str, Any]:
    """Time the steps of one workload, the methods in turns."""
    vae, methods = make(workload, names, device)
    learned = count(vae.parameters())
    for name, method in methods.items():
        assert method.learned == learned, f"{name} learns {method.learned:,} numbers, not {learned}"
        method.run(steps)
    rows = in_turns(methods, device, rounds, steps)
    return {
        "model": WORKLOADS[workload].model,
        "batch": WORKLOADS[workload].batch,
        "parameters": learned,
        "unit": "ms per step",
        "methods": with_ratios(rows),
    }


def in_turns(
    methods: dict[str, Method], device: torch.device, rounds: int, steps: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of a step of each method, by turns of some steps."""
    taken: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            began = now(device)
            method.run(steps)
            taken[name].append(1e3 * (now(device) - began) / steps)
    return {name: summary(values) for name, values in taken.items()}


def summary(values: list[float]) -> dict[str, float]:
    """Median, least and quartiles."""
    q1, median, q3 = np.quantile(values, (0.25, 0.5, 0.75))
    figures = {"median": median, "min": min(values), "q1": q1, "q3": q3}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def with_ratios(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Add to each row its median over that of the references."""
    for row in rows.values():
        for name in REFERENCES:
            if name in rows:
                row[f"/ {name}"] = round(row["median"] / rows[name]["median"], 3)
    return rows


def first_steps(workload: str, names: Iterable[str], device: torch.device) -> dict[str, Any]:
    """Seconds to the end of the first step of what is compiled, without and with torch's cache."""
    rows: dict[str, Any] = {}
    for name in names:
        command = [sys.executable, "-m", "results.benchmarks.training", "--first-step"]
        command += ["--workloads", workload, "--only", name, "--device", str(device)]
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache}
            rows[name] = {
                state: float(subprocess.check_output(command, env=environment, text=True))
                for state in ("cold", "warm")
            }
    return rows


def measure_epochs(workload: str, names: Iterable[str], device: torch.device) -> dict[str, Any]:
    """Time whole epochs of MNIST, of the model of a workload.

    An epoch of `pvae.fit` is the time between the ends of two: the loop in Pyro only trains,
    while `fit` evaluates and keeps the best weights as well. The first epoch,
    in which `fit` compiles, is left out for both.
    """
    data = pvae.data.load("mnist")
    ways = {
        "Pyro SVI": pyro_epochs,
        "pvae, eager": partial(our_epochs, compiled=False),
        "pvae, compiled": partial(our_epochs, compiled=True),
    }
    rows = {}
    for name in filter(ways.__contains__, names):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        vae = WORKLOADS[workload].make().to(device)
        rows[name] = summary(ways[name](vae, data, WORKLOADS[workload].batch, device))
    return {
        "model": f"MNIST, {WORKLOADS[workload].model}",
        "batch": WORKLOADS[workload].batch,
        "images": len(data.train),
        "unit": "s per epoch",
        "methods": with_ratios(rows),
    }


def our_epochs(
    vae: pvae.VAE, data: pvae.data.Dataset, batch: int, device: torch.device, compiled: bool
) -> list[float]:
    """Seconds of each epoch of `pvae.fit` except the first."""
    history = pvae.fit(
        vae,
        data,
        epochs=1 + EPOCHS,
        batch_size=batch,
        device=str(device),
        compile=compiled,
        progress=False,
        **AS_MEASURED,
    )
    return [after - before for before, after in pairwise(history["seconds"])]


def pyro_epochs(
    vae: pvae.VAE, data: pvae.data.Dataset, batch: int, device: torch.device
) -> list[float]:
    """Seconds of each epoch, except the first, of the usual loop over torchvision's MNIST."""
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    images = MNIST(os.environ["PVAE_DATA"], train=True, transform=ToTensor())
    images = Subset(images, range(len(data.train)))  # as many as the others train on
    loader = DataLoader(images, batch, shuffle=True)
    step = pyro_step(vae)
    seconds = []
    for _ in range(1 + EPOCHS):
        began = now(device)
        for x, _ in loader:
            step(x.to(device).bernoulli())
        seconds.append(now(device) - began)
    return seconds[1:]


# Showing ------------------------------------------------------------------------------------------


def show(workload: str, result: dict[str, Any]) -> None:
    """Print the table of a workload."""
    print(f"\n{workload}: {result['model']}, batch {result['batch']}; {result['unit']}")
    columns = ["median", "min", "q1", "q3", *(f"/ {name}" for name in REFERENCES)]
    print(f"{'':<20}" + "".join(f"{column:>{max(9, len(column) + 2)}}" for column in columns))
    for name, row in result["methods"].items():
        cells = (f"{row.get(c, ''):>{max(9, len(c) + 2)}}" for c in columns)
        print(f"{name:<20}" + "".join(cells))
    for name, seconds in result.get("first_step_s", {}).items():
        print(f"first step of {name}: {seconds['cold']} s, {seconds['warm']} s from torch's cache")


@style()
def draw(workloads: dict[str, dict[str, Any]]) -> Figure:
    """Bars of the medians, a panel for each workload."""
    results = sorted(workloads.values(), key=lambda result: -len(result["methods"]))
    columns = min(2, len(results))
    # Rows are as high as their panels need for bars of one height.
    most = [len(result["methods"]) for result in results[::columns]]
    figure = Figure(figsize=(WIDTH, 0.23 * sum(most) + 0.65 * len(most)), layout="constrained")
    grid = figure.subplots(len(most), columns, squeeze=False, height_ratios=[n + 1 for n in most])
    for axes in grid.flat[len(results) :]:
        axes.set_axis_off()
    for axes, result in zip(grid.flat, results, strict=False):
        medians = {name: row["median"] for name, row in result["methods"].items()}
        names = list(medians)
        colours = [BLUE if name == "pvae, compiled" else BAR for name in names]
        bars = axes.barh(names, medians.values(), color=colours, height=0.7)
        axes.bar_label(bars, [f"{value:.3g}" for value in medians.values()], padding=3)
        axes.set_title(f"{result['model']}, batch {result['batch']}")
        axes.set_xlabel(result["unit"])
        height = most[results.index(result) // columns]
        axes.set_ylim(height - 0.5, -0.5)
        axes.margins(x=0.12)
        axes.tick_params(axis="y", length=0)
        for name, label in zip(names, axes.get_yticklabels(), strict=True):
            label.set_fontweight("bold" if name == "pvae, compiled" else "normal")
    return figure


def main() -> None:
    """Measure, print, and write the JSON next to this file and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = [*WORKLOADS, *EPOCHS_OF]
    parser.add_argument("--workloads", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--rounds", type=int, default=30, help="turns of each method")
    parser.add_argument("--steps", type=int, default=20, help="steps of a turn")
    parser.add_argument(
        "--only", nargs="+", choices=METHODS, metavar="METHOD", help="print these; write nothing"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--first-step", action="store_true", help="print the seconds to the end of the first step"
    )
    options = parser.parse_args()
    device = choose_device(options.device)
    if options.first_step:
        began = now(device)
        _, methods = make(options.workloads[0], options.only, device)
        for method in methods.values():
            method.run(1)
        print(round(now(device) - began, 2))
        return

    names = [name for name in installed(device) if name in (options.only or METHODS)]
    versions = {n: version(n) for n in PACKAGES if importlib.util.find_spec(n.removesuffix("-ppl"))}
    result = {
        "rounds": options.rounds,
        "steps": options.steps,
        "spin_count": os.environ.get("GOMP_SPINCOUNT"),
        "workloads": {},
        "device": str(device),
        "machine": machine() | versions,
    }
    for workload in options.workloads:
        if workload not in EPOCHS_OF:
            with openmp.considerate():
                rows = measure(workload, names, device, options.rounds, options.steps)
            compiled = [name for name in COMPILED if name in rows["methods"]]
            rows["first_step_s"] = first_steps(workload, compiled, device)
        elif (Path(os.environ.get("PVAE_DATA", "")) / "MNIST" / "raw").is_dir():
            rows = measure_epochs(EPOCHS_OF[workload], names, device)
        else:
            print("\nWithout epochs: MNIST is not in the folder that PVAE_DATA names.")
            continue
        result["workloads"][workload] = rows
        show(workload, rows)
    if not options.only:
        OUT.write_text(json.dumps(result, indent=2) + "\n")
        save(draw(result["workloads"]), FIGURE)


if __name__ == "__main__":
    main()
