"""Every prior in its variants, small, called as ``pvae.build`` calls it: prior(latent_dim)."""

from functools import partial

from pvae.priors import (
    Autoregressive,
    Bernoulli,
    Flow,
    Hyperspherical,
    Laplace,
    Mixture,
    Normal,
    OneHot,
    StandardNormal,
    StudentT,
    VampPrior,
)

PRIORS = {
    "standard_normal": StandardNormal,
    "normal": Normal,
    "laplace": Laplace,
    "laplace_learned": partial(Laplace, learned=True),
    "student_t": StudentT,
    "student_t_learned": partial(StudentT, degrees_of_freedom=8, learned=True),
    "mixture": partial(Mixture, components=4),
    "vamp": partial(VampPrior, components=5),
    "vamp_learned_weights": partial(VampPrior, components=5, learned_weights=True),
    "affine_coupling": partial(Flow, layers=2, hidden=[8]),
    "spline_coupling": partial(Flow, kind="spline_coupling", layers=2, hidden=[8]),
    "masked_autoregressive": partial(Flow, kind="masked_autoregressive", layers=2, hidden=[8]),
    "inverse_autoregressive": partial(Flow, kind="inverse_autoregressive", layers=2, hidden=[8]),
    "autoregressive": partial(Autoregressive, components=3, hidden=[8]),
    "autoregressive_one_component": partial(Autoregressive, components=1, hidden=[8, 8]),
    "hyperspherical": Hyperspherical,
    "one_hot": OneHot,
    "one_hot_groups": partial(OneHot, groups=2),
    "bernoulli": Bernoulli,
    "bernoulli_rare": partial(Bernoulli, probability=0.2),
}
