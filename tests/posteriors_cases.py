"""Every posterior in its variants, small, called as posterior(event_shape, latent_dim, network).

A case is named by its class, and what sets it apart. The first of a class stands for it where
every part is combined with every other (`tests/composition.py`).
"""

from functools import partial

import torch

from pvae import likelihoods, priors
from pvae import posteriors as Q
from pvae.interfaces import option
from pvae.networks import MLP
from pvae.seeds import seeded

POSTERIORS = {
    "DiagonalNormal": Q.DiagonalNormal,
    "LowRankNormal": partial(Q.LowRankNormal, rank=2),
    "FullNormal": Q.FullNormal,
    "PlanarFlow": partial(Q.PlanarFlow, layers=3),
    "HouseholderFlow": partial(Q.HouseholderFlow, layers=3),
    "SylvesterFlow": partial(Q.SylvesterFlow, layers=2, reflections=3),
    "InverseAutoregressiveFlow": partial(
        Q.InverseAutoregressiveFlow, layers=3, hidden=[8], context_dim=5
    ),
    "InverseAutoregressiveFlow, deep": partial(
        Q.InverseAutoregressiveFlow, layers=2, hidden=[8, 8], context_dim=5
    ),
    "SplineFlow": partial(Q.SplineFlow, layers=2, bins=4, hidden=[8], context_dim=5),
    "MixtureOfNormals": partial(Q.MixtureOfNormals, components=3),
    "Laplace": Q.Laplace,
    "StudentT": partial(Q.StudentT, degrees_of_freedom=4),
    "Delta": Q.Delta,
    "Hamiltonian": partial(Q.Hamiltonian, steps=2),
    "DAIS": partial(Q.DAIS, steps=2),
    "PowerSpherical": Q.PowerSpherical,
    "WrappedNormal": Q.WrappedNormal,
    "VQ": partial(Q.VQ, codes=5),
    "VQ, loss": partial(Q.VQ, codes=5, update="loss", decay=0.5, revival=0.5),
    "FSQ": partial(Q.FSQ, levels=(3, 2)),
    "RelaxedOneHot": partial(Q.RelaxedOneHot, temperature=0.5),
    "RelaxedOneHot, groups": partial(Q.RelaxedOneHot, groups=2, straight_through=True),
    "RelaxedOneHot, annealed": partial(Q.RelaxedOneHot, final_temperature=0.3, annealing_steps=10),
    "RelaxedBernoulli": partial(Q.RelaxedBernoulli, temperature=0.5),
    "RelaxedBernoulli, straight-through": partial(Q.RelaxedBernoulli, straight_through=True),
    "RelaxedBernoulli, annealed": partial(
        Q.RelaxedBernoulli, final_temperature=0.3, annealing_steps=10
    ),
    "TopDown": Q.TopDown,
    "TopDown, residual": partial(Q.TopDown, combination="residual"),
    "TopDown, precision": partial(Q.TopDown, combination="precision"),
    "Smoothing": partial(Q.Smoothing, message=3),
}
QUANTIZED = {"VQ", "FSQ"}  # whose z are codes
EVOLVING = {"Hamiltonian", "DAIS"}  # which follow the model
ONLY_OWN_DRAWS = {"PlanarFlow", "SylvesterFlow"} | EVOLVING  # which have no inverse
# Those whose latents depend on each other given x, or that have no density of a single latent.
DEPENDENT = ONLY_OWN_DRAWS | {
    *("LowRankNormal", "FullNormal", "HouseholderFlow", "InverseAutoregressiveFlow"),
    *("SplineFlow", "MixtureOfNormals", "PowerSpherical", "Delta"),
    *("WrappedNormal", "VQ", "FSQ"),
    *("RelaxedOneHot", "RelaxedBernoulli", "TopDown", "Smoothing"),
}


def prior_for(name):
    """The simplest prior over the same z as a posterior, as a factory."""
    if name == "RelaxedOneHot, groups":
        return partial(priors.OneHot, groups=2)
    others = {
        "PowerSpherical": priors.Hyperspherical,
        "WrappedNormal": priors.WrappedNormal,
        "VQ": priors.UniformCodes,
        "FSQ": priors.UniformCodes,
        "RelaxedOneHot": priors.OneHot,
        "RelaxedBernoulli": priors.Bernoulli,
        "TopDown": partial(priors.TopDown, hidden=8),
    }
    return others.get(name.partition(",")[0], priors.StandardNormal)


def made(name, event_shape, latent_dim, network=None):
    """A posterior, with a model where it needs one, always the same."""
    posterior = POSTERIORS[name](event_shape, latent_dim, network=network)
    if connect := option(posterior, "connect"):
        with seeded(0, torch.device("cpu")):
            prior, small = prior_for(name)(latent_dim), partial(MLP, hidden=[6])
            likelihood = likelihoods.Gaussian(latent_dim, event_shape, network=small)
        connect(prior, likelihood)
        if name in EVOLVING:  # a copy has a model of its own, as in a VAE
            posterior.model = torch.nn.ModuleList([prior, likelihood])
    return posterior


def double(posterior):
    """The posterior in double precision, with the path that it does not own."""
    for path in getattr(posterior, "_path", ()):
        path.double()
    return posterior.double()
