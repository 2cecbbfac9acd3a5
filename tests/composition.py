"""Every part with every other: which are compatible, and what must hold for those.

The parts are the first case of each class in `*_cases.py`; the networks are those of sequences and
images too.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import pyro
import torch
from pyro.distributions import constraints
from pyro.infer import SVI

import pvae
from pvae.distributions.elements import element_support
from pvae.inference import Optimizer
from tests import likelihoods_cases, objectives_cases, posteriors_cases, priors_cases
from tests.posteriors_cases import DEPENDENT, EVOLVING, ONLY_OWN_DRAWS, QUANTIZED, made
from tests.priors_cases import CODES

LATENT = 2
# Odd, so that the signs in the gradient of a Laplace's location cannot cancel.
BATCH = 7


def one_of_each_class(cases: Mapping[str, Callable]) -> dict[str, Callable]:
    """The first case of each class, by the name of the class."""
    found = {}
    for make in cases.values():
        found.setdefault(getattr(make, "func", make).__name__, make)
    return found


PRIORS = one_of_each_class(priors_cases.PRIORS)
POSTERIORS = one_of_each_class(posteriors_cases.POSTERIORS)
LIKELIHOODS = one_of_each_class(likelihoods_cases.LIKELIHOODS)
OBJECTIVES = one_of_each_class(objectives_cases.OBJECTIVES)
NETWORKS = {
    "MLP": partial(pvae.networks.MLP, hidden=[8]),
    "GRU": partial(pvae.networks.GRU, hidden=4),
    "Conv": partial(pvae.networks.Conv, channels=[3], hidden=6),
    "ResNet": partial(pvae.networks.ResNet, channels=[6], blocks=1),
}
EVENTS = {"MLP": (6,), "GRU": (2, 3), "Conv": (1, 8, 8), "ResNet": (1, 8, 8)}  # of their data
KINDS = {
    "priors": PRIORS,
    "posteriors": POSTERIORS,
    "likelihoods": LIKELIHOODS,
    "objectives": OBJECTIVES,
    "networks": NETWORKS,
}


def space(p: pyro.distributions.TorchDistribution) -> constraints.Constraint:
    """The support of a distribution's density, comparable with that of another."""
    return element_support(p.support)


CONNECTED = {"VampPrior", *CODES}  # over whatever their posterior is over
SPACES: dict[str, Any] = {
    **{name: space(make(LATENT)()) for name, make in PRIORS.items() if name not in CONNECTED},
    **{
        name: space(made(name, (6,), LATENT, NETWORKS["MLP"])(torch.zeros(6)))
        for name in POSTERIORS
    },
}
REFUSED = {
    "PIWAE": ONLY_OWN_DRAWS,
    "BetaTC": DEPENDENT,
    "Denoising": EVOLVING,
    "SemiSupervised": EVOLVING,
}  # posteriors, by objective


COMPARING = ("RAE", "VAEGAN", "StructuralSimilarity")  # data with the mean of p(x|z)
COUNTS = {
    name
    for name, make in LIKELIHOODS.items()
    if getattr(getattr(make, "func", make), "domain", "") == "counts"
}


class Cell(NamedTuple):
    """One of each kind, by name."""

    prior: str = "StandardNormal"
    posterior: str = "DiagonalNormal"
    likelihood: str = "Bernoulli"
    objective: str = "Trace_ELBO"
    network: str = "MLP"

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of its data."""
        event = EVENTS[self.network]
        small = self.network == "MLP"  # as an image too, which the others may not read
        return objectives_cases.event_of(OBJECTIVES[self.objective], event) if small else event

    @property
    def compatible(self) -> bool:
        """Whether the pair is over the same z, and the prior has a density there."""
        if self.posterior == "TopDown":  # which goes down the path of its prior
            return self.prior == "TopDown"
        if self.prior in CODES:
            return self.posterior in QUANTIZED
        if self.prior == "VampPrior":
            return self.posterior not in ONLY_OWN_DRAWS | QUANTIZED | {"Delta"}
        return SPACES[self.prior] == SPACES[self.posterior]

    @property
    def refused(self) -> bool:
        """Whether the objective does not take the posterior, the likelihood or the data."""
        if self.objective == "StructuralSimilarity" and self.network == "GRU":
            return True  # which is for images
        return is_refused(self.objective, self.posterior, self.likelihood)


def is_refused(objective: str, posterior: str, likelihood: str) -> bool:
    """Whether an objective does not take a posterior or a likelihood, all by class."""
    if objective in COMPARING and likelihood == "LogitNormal":
        return True  # whose mean has no closed form, and so no gradient
    if objective == "StructuralSimilarity" and likelihood in COUNTS:
        return True
    return posterior in REFUSED.get(objective, ())


def cells() -> Iterator[Cell]:
    """All cells of an MLP whose parts are compatible and whose objective takes the posterior."""
    for names in itertools.product(PRIORS, POSTERIORS, LIKELIHOODS, OBJECTIVES):
        cell = Cell(*names)
        if cell.compatible and not cell.refused:
            yield cell


def pairs() -> list[Cell]:
    """Few cells in which every possible pair of parts occurs, chosen greedily."""
    kinds, covered, found = list(KINDS.values())[:4], set(), []
    for one, other in [(1, 2), (2, 3), (0, 2), (1, 3), (0, 1), (0, 3)]:  # most pairs first
        for a, b in itertools.product(kinds[one], kinds[other]):
            if (one, a, other, b) in covered:
                continue
            options = [list(kind) for kind in kinds]
            options[one], options[other] = [a], [b]
            candidates = [
                cell
                for prior, posterior in itertools.product(*options[:2])
                if _fit(prior, posterior)
                for rest in itertools.product(*options[2:])
                if not (cell := Cell(prior, posterior, *rest)).refused
            ]
            if candidates:
                best = max(candidates, key=lambda cell: len(_pairs_of(cell) - covered))
                covered |= _pairs_of(best)
                found.append(best)
    # Each part is in many of these cells, so that it meets every network if these are chosen now.
    covered = set()
    for i, cell in enumerate(found):
        networks = [new for name in NETWORKS if not (new := cell._replace(network=name)).refused]
        found[i] = max(networks, key=lambda cell: len(_pairs_of(cell) - covered))
        covered |= _pairs_of(found[i])
    return found


@cache
def _fit(prior: str, posterior: str) -> bool:
    return Cell(prior, posterior).compatible


@cache
def _pairs_of(cell: Cell) -> frozenset[tuple[int, str, int, str]]:
    return frozenset(
        (one, cell[one], other, cell[other]) for one, other in itertools.combinations(range(5), 2)
    )


def build(cell: Cell, **options: Any) -> pvae.VAE:
    """The VAE of a cell, of unknown labels if its objective is for these; more as for `build`."""
    unknown = {"conditional": True, "classes": 3, "classifier": pvae.classifiers.Softmax}
    return pvae.build(
        cell.event,
        LATENT,
        prior=PRIORS[cell.prior],
        posterior=POSTERIORS[cell.posterior],
        likelihood=LIKELIHOODS[cell.likelihood],
        network=NETWORKS[cell.network],
        **(unknown if cell.objective == "SemiSupervised" else {}),
        **options,
    )


def check(cell: Cell, steps: int = 3) -> None:
    """Take a few optimization steps, and assert what must hold of every cell.

    Raises:
        AssertionError: if a loss is not finite, a parameter is not reached, or samples or
            reconstructions are of another shape.
    """
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    vae = build(cell)
    objective = objectives_cases.objective_for(OBJECTIVES[cell.objective], cell.event)
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
    assert vae.sample(3).shape == (3, *cell.event)
    assert vae.reconstruct(x).shape == x.shape


FIRST_WEIGHTS = (  # of a decoder
    "likelihood.network.layers.0.weight",  # Conv
    "likelihood.network.layers.1.weight",  # MLP
    "likelihood.network.first.weight_ih_l0",  # GRU
)


def unreached(cell: Cell, name: str) -> bool:
    """Whether a parameter is known to have no gradient."""
    # The MMD alone learns a prior from its draws, which some families make without gradients; and
    # a KL that is estimated below the free bits has none.
    if cell.posterior == "FSQ" and (name.endswith(FIRST_WEIGHTS) or name == "discriminator 0"):
        return True  # latents are rounded to 0 at first, which these weights multiply
    if name == "prior.variance.weight":
        return True  # a state of one number, whose ReLU is dead if it is negative for all data
    if name == "prior.network.first.weight":
        return True  # a single position has none before it
    if cell.objective == "VAEGAN" and name.rpartition(".")[2] in ("log_scale", "log_df"):
        return True  # which the mean does not depend on
    if cell.objective in ("WAE", "RAE", "AAE") and name == "posterior.step":
        return True  # the codebook, which is learned with the KL
    return cell.objective in ("WAE", "RAE", "AAE", "FreeBits") and name.startswith("prior.")
