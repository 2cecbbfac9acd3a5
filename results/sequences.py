"""Series with a season: a state-space prior beside independent latents.

    python -m results.sequences

`pvae.data.seasonal`, 2,000 series of 24 steps of 3 values, whose exact log p(x) is known. All
models have 48 latents and a Gaussian of the true noise, 0.5, Adam at 1e-2, and the weights of the
best of 40 epochs by the validation part.

=================  =====================================================================
model              parts
=================  =====================================================================
state space        `StateSpace` and `Smoothing` of 24 states of 2, `GRU` for each state
independent, GRU   N(0, I), a normal posterior, `GRU` from and to one code
independent, MLP   N(0, I), a normal posterior, `MLP` of 200 units
=================  =====================================================================

log p(x) of the test part is by 500 importance samples, for three seeds, each with series, splits
and initial weights of its own.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributions import MultivariateNormal

import pvae
from pvae.data import seasonal
from pvae.evaluation import log_likelihood
from pvae.likelihoods import Gaussian
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


PARTS: dict[str, Callable[[Path], Iterator]] = {name: partial(rows, name) for name in MODELS}


def show(results: Mapping[str, Any]) -> None:
    """Print means over seeds."""
    for name in PARTS:
        found = [*results.get(name, {}).values()]
        for key in found and found[0]:
            values = [row[key] for row in found]
            spread = f"{min(values):.3f} to {max(values):.3f}"
            print(f"{name:<20}{key:<22}{statistics.mean(values):10.3f}   {spread}")


def main() -> None:
    """Measure, print, and write the JSON."""
    show(run_parts(__doc__, PARTS, "sequences.json"))


if __name__ == "__main__":
    main()
