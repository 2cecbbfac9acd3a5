"""Series with a season, and chorales: a state-space prior beside independent latents.

    python -m results.sequences ["state space" "independent, GRU" "independent, MLP" chorales]

*Series.* `pvae.data.seasonal`, 2,000 series of 24 steps of 3 values, whose exact log p(x) is known.
All models have 48 latents and a Gaussian of the true noise, 0.5, Adam at 1e-2, and the weights of
the best of 40 epochs by the validation part.

=================  =====================================================================
model              parts
=================  =====================================================================
state space        `StateSpace` and `Smoothing` of 24 states of 2, `GRU` for each state
independent, GRU   N(0, I), a normal posterior, `GRU` from and to one code
independent, MLP   N(0, I), a normal posterior, `MLP` of 200 units
=================  =====================================================================

log p(x) of the test part is by 500 importance samples, for three seeds, each with series, splits
and initial weights of its own.

*Chorales.* The chorales of J. S. Bach with their published split: which of 88 notes sound at each
of up to 129 steps. They are read from the file that `pyro.contrib.examples.polyphonic_data_loader`
keeps once it has downloaded them; without that file this part is left out. Shorter ones are padded,
under `Padded` of a `Bernoulli`. States have 10 latents, a single code 64; *independent steps* are
those of the state space without a link in time, under N(0, I) and a normal posterior. The bound on
log p(x), and log p(x) by 100 importance samples, are those of all test chorales together, divided
by their steps, in nats for each step (Krishnan, Shalit, Sontag 2017).
"""

import importlib.util
import pickle
import statistics
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.contrib.examples.util import get_data_directory
from torch.distributions import MultivariateNormal
from torch.nn.utils.rnn import pad_sequence

import pvae
from pvae.data import seasonal
from pvae.data.arrays import Arrays, from_arrays
from pvae.distributions.padded import padding
from pvae.evaluation import elbo, log_likelihood
from pvae.likelihoods import Bernoulli, Gaussian, Padded
from pvae.networks import GRU, MLP
from pvae.posteriors import Smoothing
from pvae.priors import StateSpace
from results.frame import fit, run_parts, timed

STATE_DIM = 2
NOISE = 0.5
EPOCHS = 40
SEEDS = range(3)
SAMPLES = 500

MODELS: dict[str, dict[str, Any]] = {
    "state space": {
        "prior": partial(StateSpace, state_dim=STATE_DIM),
        "posterior": partial(Smoothing, state_dim=STATE_DIM),
        "network": partial(GRU, hidden=64, state_dim=STATE_DIM),
    },
    "independent, GRU": {"network": partial(GRU, hidden=64)},
    "independent, MLP": {"network": partial(MLP, hidden=[200])},
}

CHORALES = "chorales"
LOADER = "pyro.contrib.examples.polyphonic_data_loader"
CHORALES_STATE, CHORALES_CODE = 10, 64
CHORALES_SAMPLES = 100
CHORALES_FIT = {"epochs": 200, "batch_size": 20, "warmup": 500}

# Series -------------------------------------------------------------------------------------------


def measure(name: str, seed: int) -> dict[str, float]:
    """Train a model on its series, and measure it on the test part."""
    x, _, covariance = seasonal(noise=NOISE, seed=seed)
    data = pvae.data.load(x, event_shape=x.shape[1:], validation=0.1, test=0.2)
    steps = x.shape[1]
    vae = pvae.build(
        data.event_shape,
        latent_dim=steps * STATE_DIM,
        likelihood=partial(Gaussian, scale=NOISE),
        seed=seed,
        **MODELS[name],
    )
    optimizer = partial(torch.optim.Adam, lr=1e-2)
    _, seconds = timed(
        lambda: fit(vae, data, epochs=EPOCHS, seed=seed, optimizer=optimizer, compile=False)
    )
    test = data.batch(vae, "test")
    found = log_likelihood(vae, test, num_samples=SAMPLES, progress=False)
    exact = MultivariateNormal(torch.zeros(len(covariance)).double(), covariance)
    return {
        "log_prob": found.log_prob.mean().item(),
        "exact_log_prob": exact.log_prob(test.flatten(1).double()).mean().item(),
        "seconds": seconds,
    }


def rows(name: str, folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """A model with each seed."""
    for seed in SEEDS:
        yield f"seed {seed}", measure(name, seed)


# Chorales -----------------------------------------------------------------------------------------


def chorales_file() -> Path:
    """Where Pyro keeps the chorales: what its loader would do on import is not done."""
    spec = importlib.util.find_spec(LOADER)
    assert spec is not None  # Pyro is installed
    return Path(get_data_directory(spec.origin)) / "jsb_chorales.pkl"


def load_chorales(file: Path) -> pvae.data.Dataset:
    """Read the file that Pyro's loader writes, and pad all sequences to the longest one."""
    with file.open("rb") as opened:
        splits = pickle.load(opened)
    names = {"train": "train", "valid": "validation", "test": "test"}
    sequences = {part: splits[split]["sequences"] for split, part in names.items()}
    together = [x for part in sequences.values() for x in part]
    padded = pad_sequence(together, batch_first=True, padding_value=torch.nan)
    each = padded.split([len(part) for part in sequences.values()])
    parts = {part: Arrays(x) for part, x in zip(sequences, each, strict=True)}
    return from_arrays(CHORALES, parts, event_shape=padded.shape[1:])


def chorales_models(steps: int) -> dict[str, dict[str, Any]]:
    """The parts of each model, for sequences of so many steps."""
    state_dim, hidden = CHORALES_STATE, 100
    of_states = {
        "latent_dim": steps * state_dim,
        "network": partial(GRU, hidden=hidden, state_dim=state_dim),
    }
    of_code = {"latent_dim": CHORALES_CODE}
    return {
        "state space": {
            "prior": partial(StateSpace, state_dim=state_dim),
            "posterior": partial(Smoothing, state_dim=state_dim),
            **of_states,
        },
        "independent steps": of_states,
        "one code, GRU": {"network": partial(GRU, hidden=hidden), **of_code},
        "one code, MLP": {"network": partial(MLP, hidden=[200]), **of_code},
    }


def chorales(folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Each model of the chorales, by what is on average known of a step."""
    data = load_chorales(chorales_file())
    for name, parts in chorales_models(data.event_shape[0]).items():
        likelihood = partial(Padded, likelihood=Bernoulli)
        vae = pvae.build(data.event_shape, likelihood=likelihood, seed=0, **parts)
        _, seconds = timed(partial(fit, vae, data, seed=0, compile=False, **CHORALES_FIT))
        x = data.batch(vae, "test")
        steps = (~padding(x, 2)).sum().item()
        pyro.set_rng_seed(0)
        with torch.no_grad():
            bounds = [elbo(vae, x).elbo.sum().item() / steps for _ in range(10)]
        found = log_likelihood(vae, x, num_samples=CHORALES_SAMPLES, progress=False)
        yield (
            name,
            {
                "bound": statistics.mean(bounds),
                "log_prob": found.log_prob.sum().item() / steps,
                "seconds": seconds,
            },
        )


# All ----------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Path], Iterator]] = {
    **{name: partial(rows, name) for name in MODELS},
    CHORALES: chorales,
}


def show(results: Mapping[str, Any]) -> None:
    """Print means over seeds, of the series."""
    for name in MODELS:
        found = [*results.get(name, {}).values()]
        for key in found and found[0]:
            values = [row[key] for row in found]
            spread = f"{min(values):.3f} to {max(values):.3f}"
            print(f"{name:<20}{key:<22}{statistics.mean(values):10.3f}   {spread}")


def main() -> None:
    """Measure, print, and write the JSON."""
    missing = {}
    if not (file := chorales_file()).exists():
        missing[CHORALES] = (
            f"The chorales are missing, which were expected in {file}: import {LOADER} on a "
            "machine with internet access, call its load_data(JSB_CHORALES), and copy the file."
        )
    show(run_parts(__doc__, PARTS, "sequences.json", missing))


if __name__ == "__main__":
    main()
