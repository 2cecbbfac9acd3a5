"""Every part with every other: which go together, and what must hold where they do."""

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pyro
import torch
from pyro.infer import SVI

import pvae
from pvae.inference import Optimizer

EVENT, LATENT, BATCH = (6,), 4, 8
NETWORK = partial(pvae.networks.MLP, hidden=[8])

PRIORS = {
    "StandardNormal": pvae.priors.StandardNormal,
    "Normal": pvae.priors.Normal,
    "Laplace": partial(pvae.priors.Laplace, learned=True),
    "StudentT": partial(pvae.priors.StudentT, learned=True),
    "Mixture": partial(pvae.priors.Mixture, components=3),
    "VampPrior": partial(pvae.priors.VampPrior, components=3),
    "Flow": partial(pvae.priors.Flow, layers=2, hidden=[8]),
    "Autoregressive": partial(pvae.priors.Autoregressive, components=2, hidden=[8]),
    "Nested": partial(pvae.priors.Nested, hidden=(8,)),
    "Hyperspherical": pvae.priors.Hyperspherical,
    "OneHot": partial(pvae.priors.OneHot, groups=2),
    "Bernoulli": pvae.priors.Bernoulli,
}
POSTERIORS = {
    "DiagonalNormal": pvae.posteriors.DiagonalNormal,
    "LowRankNormal": partial(pvae.posteriors.LowRankNormal, rank=2),
    "FullNormal": pvae.posteriors.FullNormal,
    "PlanarFlow": partial(pvae.posteriors.PlanarFlow, layers=2),
    "HouseholderFlow": partial(pvae.posteriors.HouseholderFlow, layers=2),
    "SylvesterFlow": partial(pvae.posteriors.SylvesterFlow, layers=2),
    "InverseAutoregressiveFlow": partial(pvae.posteriors.InverseAutoregressiveFlow, layers=2),
    "SplineFlow": pvae.posteriors.SplineFlow,
    "MixtureOfNormals": partial(pvae.posteriors.MixtureOfNormals, components=2),
    "Laplace": pvae.posteriors.Laplace,
    "StudentT": pvae.posteriors.StudentT,
    "Delta": pvae.posteriors.Delta,
    "PowerSpherical": pvae.posteriors.PowerSpherical,
    "RelaxedOneHot": partial(pvae.posteriors.RelaxedOneHot, groups=2),
    "RelaxedBernoulli": pvae.posteriors.RelaxedBernoulli,
}
# By the name of the class; those over bytes have few levels, so that all are met.
LEVELS = (
    "Categorical",
    "Binomial",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "DiscretizedGaussian",
)
LIKELIHOODS = {
    name: partial(getattr(pvae.likelihoods, name), **({"levels": 4} if name in LEVELS else {}))
    for name in (
        *("Bernoulli", "ContinuousBernoulli", "Beta", "LogitNormal"),
        *("Gaussian", "Laplace", "StudentT", "LogNormal", "Gamma"),
        *LEVELS,
        *("Poisson", "NegativeBinomial", "ZeroInflatedPoisson", "ZeroInflatedNegativeBinomial"),
        "Multinomial",
    )
}
OBJECTIVES = {
    "Trace_ELBO": pvae.objectives.Trace_ELBO,
    "TraceMeanField_ELBO": pvae.objectives.TraceMeanField_ELBO,
    "RenyiELBO": partial(pvae.objectives.RenyiELBO, 0.5, num_particles=2),
    "BetaELBO": partial(pvae.objectives.BetaELBO, 2.0),
    "CapacityELBO": partial(pvae.objectives.CapacityELBO, 3.0, gamma=2.0, warmup_steps=0),
    "FreeBits": partial(pvae.objectives.FreeBits, 1e-6),
    "ImportanceWeighted": partial(pvae.objectives.ImportanceWeighted, 3),
    "MIWAE": partial(pvae.objectives.MIWAE, 2, 2),
    "CIWAE": partial(pvae.objectives.CIWAE, 0.5, 2),
    "PIWAE": partial(pvae.objectives.PIWAE, 2, 2),
    "BetaTC": partial(pvae.objectives.BetaTC, data_size=100),
    "InfoVAE": pvae.objectives.InfoVAE,
    "WAE": pvae.objectives.WAE,
    "FactorVAE": partial(pvae.objectives.FactorVAE, latent_dim=LATENT, hidden=[8]),
    "Denoising": pvae.objectives.Denoising,
    "Warmup": lambda: pvae.objectives.Warmup(pvae.objectives.Trace_ELBO(), 3),
}

SPACES = {  # of the priors and posteriors that are not over real vectors
    "Hyperspherical": "sphere",
    "PowerSpherical": "sphere",
    "OneHot": "categories",
    "RelaxedOneHot": "categories",
    "Bernoulli": "coins",
    "RelaxedBernoulli": "coins",
}
# Posteriors that an objective refuses, in one sentence: those that know their density only where
# they drew, and those whose latents depend on each other.
FOREIGN = {"PlanarFlow", "SylvesterFlow"}
DEPENDENT = FOREIGN | {
    *("LowRankNormal", "FullNormal", "HouseholderFlow", "InverseAutoregressiveFlow"),
    *("SplineFlow", "MixtureOfNormals", "PowerSpherical", "Delta"),
    *("RelaxedOneHot", "RelaxedBernoulli"),
}
REFUSED = {"PIWAE": FOREIGN, "BetaTC": DEPENDENT}


class Cell(NamedTuple):
    """One of each kind, by name."""

    prior: str = "StandardNormal"
    posterior: str = "DiagonalNormal"
    likelihood: str = "Bernoulli"
    objective: str = "Trace_ELBO"

    @property
    def compatible(self) -> bool:
        """Whether the pair is over the same z, and the prior has a density there."""
        if self.prior == "VampPrior":  # over whatever its posterior is over
            return self.posterior not in FOREIGN | {"Delta"}
        return SPACES.get(self.prior, "reals") == SPACES.get(self.posterior, "reals")

    @property
    def refused(self) -> bool:
        """Whether the objective cannot be had for the posterior."""
        return self.posterior in REFUSED.get(self.objective, ())


def cells() -> Iterator[Cell]:
    """All cells whose parts are compatible and whose objective takes the posterior."""
    for names in itertools.product(PRIORS, POSTERIORS, LIKELIHOODS, OBJECTIVES):
        cell = Cell(*names)
        if cell.compatible and not cell.refused:
            yield cell


def pairs() -> list[Cell]:
    """Cells in which every compatible pair of parts occurs, the others being the simplest."""
    kinds = (PRIORS, POSTERIORS, LIKELIHOODS, OBJECTIVES)
    found = set()
    for one, other in itertools.combinations(range(4), 2):
        for a, b in itertools.product(kinds[one], kinds[other]):
            names = list(Cell())
            names[one], names[other] = a, b
            cell = Cell(*names)
            if not cell.compatible and (one, other) != (0, 1):
                cell = _matched(cell)
            if cell.compatible and not cell.refused:
                found.add(cell)
    return sorted(found)


def _matched(cell: Cell) -> Cell:
    """The same with a prior or posterior that is over the space of the other."""
    if cell.prior == Cell().prior:
        space = SPACES[cell.posterior]
        return cell._replace(prior=next(p for p in PRIORS if SPACES.get(p) == space))
    space = SPACES[cell.prior]
    return cell._replace(posterior=next(q for q in POSTERIORS if SPACES.get(q) == space))


def build(cell: Cell) -> pvae.VAE:
    """The VAE of a cell."""
    return pvae.build(
        EVENT,
        LATENT,
        prior=PRIORS[cell.prior],
        posterior=POSTERIORS[cell.posterior],
        likelihood=LIKELIHOODS[cell.likelihood],
        network=NETWORK,
    )


def check(cell: Cell, steps: int = 3) -> None:
    """Take a few optimization steps, and look at what must hold of every cell.

    Raises:
        AssertionError: if a loss is not finite, a parameter is not reached, or what the VAE gives
            is of another shape.
    """
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    vae, objective = build(cell), OBJECTIVES[cell.objective]()
    with torch.no_grad():
        x = vae.decode(vae.p_z().sample((BATCH,))).sample()
    learned = [*vae.named_parameters()]
    if hasattr(objective, "parameters"):
        learned += [(f"discriminator {i}", p) for i, p in enumerate(objective.parameters())]
    before = [p.detach().clone() for _, p in learned]
    optim = Optimizer((p for _, p in learned), partial(torch.optim.Adam, lr=1e-3))
    svi = SVI(vae.model, vae.guide, optim, objective)
    for _ in range(steps):
        loss = svi.step(x)
        assert math.isfinite(loss), f"the loss is {loss}"
    for (name, p), old in zip(learned, before, strict=True):
        assert bool(p.isfinite().all()), f"{name} is not finite"
        assert not torch.equal(p, old) or unreached(cell, name), f"{name} is not reached"
    assert vae.sample(3).shape == (3, *EVENT)
    assert vae.reconstruct(x).shape == x.shape


def unreached(cell: Cell, name: str) -> bool:
    """Whether a parameter is known to have no gradient."""
    # The MMD alone learns a prior from its draws, which some families make without gradients; and
    # a KL that is estimated below the free bits has none.
    return cell.objective in ("WAE", "FreeBits") and name.startswith("prior.")
