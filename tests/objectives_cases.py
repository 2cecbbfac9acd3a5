"""Every objective in its variants, small, for a VAE of two latents.

The first of a class stands for it where every part is combined with every other
(`tests/composition.py`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from pvae.networks import MLP
from pvae.objectives import (
    AAE,
    CIWAE,
    MIWAE,
    PIWAE,
    RAE,
    VAEGAN,
    WAE,
    BetaELBO,
    BetaTC,
    CapacityELBO,
    Denoising,
    FactorVAE,
    FreeBits,
    ImportanceWeighted,
    InfoVAE,
    RenyiELBO,
    SemiSupervised,
    StructuralSimilarity,
    Trace_ELBO,
    TraceMeanField_ELBO,
    Warmup,
)

OBJECTIVES = {
    "ELBO": Trace_ELBO,
    "ELBO, analytic KL": TraceMeanField_ELBO,
    "Rényi": RenyiELBO,
    "Rényi, vectorized": partial(RenyiELBO, 0.5, num_particles=3, vectorize_particles=True),
    "beta": partial(BetaELBO, 4.0),
    "beta, warmed up": partial(BetaELBO, 4.0, warmup_steps=3),
    "beta, cyclical": partial(BetaELBO, warmup_steps=2, cycle_steps=3),
    "capacity": partial(CapacityELBO, 3.0, gamma=10.0, warmup_steps=3),
    "capacity, constant": partial(CapacityELBO, 3.0, gamma=10.0, warmup_steps=0),
    "free bits": partial(FreeBits, 0.1),
    "importance-weighted": partial(ImportanceWeighted, 4),
    "importance-weighted, one": partial(ImportanceWeighted, 1),
    "importance-weighted, STL": partial(ImportanceWeighted, 4, gradient="stl"),
    "importance-weighted, DReG": partial(ImportanceWeighted, 4, gradient="dreg"),
    "MIWAE": partial(MIWAE, 2, 3),
    "MIWAE, DReG": partial(MIWAE, 2, 3, gradient="dreg"),
    "CIWAE": partial(CIWAE, 0.5, 3),
    "CIWAE, DReG": partial(CIWAE, 0.5, 3, gradient="dreg"),
    "PIWAE": partial(PIWAE, 2, 3),
    "PIWAE, DReG": partial(PIWAE, 2, 3, gradient="dreg"),
    "beta-TC": partial(BetaTC, data_size=100, beta=6.0),
    "beta-TC, stratified": partial(BetaTC, data_size=100, sampling="stratified"),
    "InfoVAE": InfoVAE,
    "InfoVAE, RBF": partial(InfoVAE, 1.0, 20.0, kernel="rbf"),
    "WAE": WAE,
    "RAE": RAE,
    "RAE, none": partial(RAE, regularizer="none"),
    "AAE": partial(AAE, latent_dim=2, hidden=[8]),
    "VAE-GAN": partial(VAEGAN, gamma=0.5, features=5, network=partial(MLP, hidden=[8])),
    "structural similarity": partial(StructuralSimilarity, window=3),
    "structural similarity alone": partial(StructuralSimilarity, likelihood=0.0, window=3),
    "FactorVAE": partial(FactorVAE, latent_dim=2, hidden=[8, 8]),
    "warmed up": partial(Warmup, Trace_ELBO(), 3),
    "warmed up, free bits": partial(Warmup, FreeBits(0.1), 3),
    "semi-supervised": SemiSupervised,
    "denoising": Denoising,
    "denoising, beta": partial(Denoising, objective=BetaELBO(4.0)),
    "denoising, mask": partial(Denoising, 0.3, kind="mask"),
    "denoising, salt and pepper": partial(Denoising, 0.3, kind="salt and pepper"),
}


def objective_for(make: Callable, event_shape: tuple[int, ...]) -> Any:
    """Make the objective of a case for data of this shape, which some must know."""
    knows = getattr(make, "func", make) is VAEGAN
    return make(event_shape=event_shape) if knows else make()


def event_of(make: Callable, event_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of data for the objective of a case: this one, or that of a small image."""
    return (1, 3, 4) if getattr(make, "func", make) is StructuralSimilarity else event_shape
