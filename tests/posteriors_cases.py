"""Every posterior in its variants, small, called as posterior(event_shape, latent_dim, network)."""

from functools import partial

from pvae.posteriors import (
    Delta,
    DiagonalNormal,
    FullNormal,
    HouseholderFlow,
    InverseAutoregressiveFlow,
    Laplace,
    LowRankNormal,
    MixtureOfNormals,
    PlanarFlow,
    PowerSpherical,
    RelaxedBernoulli,
    RelaxedOneHot,
    SplineFlow,
    StudentT,
    SylvesterFlow,
)

POSTERIORS = {
    "diagonal_normal": DiagonalNormal,
    "low_rank_normal": partial(LowRankNormal, rank=2),
    "full_normal": FullNormal,
    "planar": partial(PlanarFlow, layers=3),
    "householder": partial(HouseholderFlow, layers=3),
    "sylvester": partial(SylvesterFlow, layers=2, reflections=3),
    "inverse_autoregressive": partial(
        InverseAutoregressiveFlow, layers=3, hidden=[8], context_dim=5
    ),
    "inverse_autoregressive_deep": partial(
        InverseAutoregressiveFlow, layers=2, hidden=[8, 8], context_dim=5
    ),
    "spline": partial(SplineFlow, layers=2, bins=4, hidden=[8], context_dim=5),
    "mixture": partial(MixtureOfNormals, components=3),
    "laplace": Laplace,
    "student_t": partial(StudentT, degrees_of_freedom=4),
    "delta": Delta,
    "power_spherical": PowerSpherical,
    "one_hot": partial(RelaxedOneHot, temperature=0.5),
    "one_hot_groups": partial(RelaxedOneHot, groups=2, straight_through=True),
    "one_hot_annealed": partial(RelaxedOneHot, final_temperature=0.3, annealing_steps=10),
    "bernoulli": partial(RelaxedBernoulli, temperature=0.5),
    "bernoulli_straight_through": partial(RelaxedBernoulli, straight_through=True),
    "bernoulli_annealed": partial(RelaxedBernoulli, final_temperature=0.3, annealing_steps=10),
}
