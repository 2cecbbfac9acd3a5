"""Every case of every family, in a VAE that is compiled: it gives what the eager program gives."""

from functools import cache, partial
from itertools import cycle, islice

import pyro
import pytest
import torch
from pyro.infer import SVI

import pvae
from pvae.inference import CompiledSVI, Optimizer
from tests.composition import is_refused, space
from tests.likelihoods_cases import LIKELIHOODS
from tests.objectives_cases import OBJECTIVES, event_of, objective_for
from tests.posteriors_cases import ONLY_OWN_DRAWS, POSTERIORS, QUANTIZED, made
from tests.priors_cases import CODES, PRIORS

EVENT, LATENT = (6,), 4
NETWORK = partial(pvae.networks.MLP, hidden=[8], activation="tanh")
# The graphs of these are those of others, or are compared in tests/inference.
LIKE_OTHERS = {
    *("beta", "beta, cyclical", "Rényi, vectorized", "ELBO, analytic KL", "InfoVAE, RBF"),
    *("RAE, none", "importance-weighted, one", "denoising, beta", "capacity, constant"),
}
LARGE = ("VampPrior", "Flow", "Autoregressive", "Nested", "Mixture", "TopDown")  # graphs of priors
SMALL = ("DiagonalNormal", "LowRankNormal", "FullNormal", "Laplace", "StudentT", "Delta")
ONE_OF_EACH = {case.partition(",")[0]: case for case in LIKELIHOODS if "None" not in case}


def cells():
    """Few combinations of a prior, a posterior, a likelihood and an objective: each occurs."""
    pairs = [
        (p, q)
        for q in POSTERIORS
        for p in sorted(PRIORS, key=lambda p: not p.startswith(LARGE))  # which few may have
        if compatible(p, q) and (q in SMALL or q.startswith("TopDown") or not p.startswith(LARGE))
    ]
    new = [{*PRIORS}, {*POSTERIORS}]
    chosen = []
    while any(new):
        chosen.append(max(pairs, key=lambda pair: (pair[0] in new[0]) + (pair[1] in new[1])))
        for names, name in zip(new, chosen[-1], strict=True):
            names.discard(name)
    objectives = [name for name in OBJECTIVES if name not in LIKE_OTHERS]
    number = max(len(chosen), len(objectives), len(ONE_OF_EACH))
    found = []
    for pair, likelihood in islice(zip(cycle(chosen), cycle(ONE_OF_EACH.values())), number):
        objective = next((o for o in objectives if not refused(o, pair[1], likelihood)), "ELBO")
        objectives = [o for o in objectives if o != objective]
        found.append((*pair, likelihood, objective))
    return found


def refused(objective, posterior, likelihood):
    """Whether the objective does not take the posterior or the likelihood."""
    made = type(objective_for(OBJECTIVES[objective], EVENT)).__name__
    return is_refused(made, *(name.partition(",")[0] for name in (posterior, likelihood)))


def compatible(prior, posterior):
    """Whether they are over the same z, and the prior has a density there."""
    if posterior.startswith("TopDown"):  # which goes down the path of its prior
        return prior.startswith("TopDown")
    quantized = posterior.partition(",")[0] in QUANTIZED
    if prior in CODES:
        return quantized
    if prior.startswith("VampPrior"):  # over whatever its posterior is over
        return not quantized and posterior not in ONLY_OWN_DRAWS | {"Delta"}
    return space_of_prior(prior) == space_of_posterior(posterior)


@cache
def space_of_prior(name):
    return space(PRIORS[name](LATENT)())


@cache
def space_of_posterior(name):
    return space(made(name, EVENT, LATENT, NETWORK)(torch.zeros(EVENT)))


CELLS = cells()


def test_every_case_occurs():
    priors, posteriors, likelihoods, objectives = map(set, zip(*CELLS, strict=True))
    assert (priors, posteriors) == (PRIORS.keys(), POSTERIORS.keys())
    assert likelihoods == {*ONE_OF_EACH.values()}
    assert objectives == OBJECTIVES.keys() - LIKE_OTHERS


@pytest.mark.parametrize("cell", CELLS, ids=" + ".join)
def test_compiled_equals_eager(cell):
    prior, posterior, likelihood, name = cell
    parts = {
        "prior": PRIORS[prior],
        "posterior": POSTERIORS[posterior],
        "likelihood": LIKELIHOODS[likelihood],
    }
    event = event_of(OBJECTIVES[name], EVENT)
    latent_dim = 2 if name in ("AAE", "FactorVAE") else LATENT  # that of its case
    losses, weights = [], []
    for inference in (SVI, partial(CompiledSVI, compile=True, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(3)
        vae = pvae.build(event, latent_dim, network=NETWORK, **parts).double()
        objective = objective_for(OBJECTIVES[name], event)
        with torch.no_grad():
            x = vae.decode(vae.p_z().sample((5,))).sample()
        objective.loss(vae.model, vae.guide, x)  # finds the plates, by a separate draw
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-2))
        svi = inference(vae.model, vae.guide, optim, objective)
        found = []
        for seed in range(3):
            pyro.set_rng_seed(seed)
            found.append(svi.step(x))
        losses.append(torch.tensor(found, dtype=torch.float64))
        weights.append(torch.cat([p.detach().flatten() for p in vae.parameters()]))
    assert losses[0].isfinite().all()
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(*weights, rtol=1e-6, atol=1e-6)
