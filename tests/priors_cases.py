"""Every prior in its variants, small, called as `pvae.build` calls it: prior(latent_dim).

A case is named by its class, and what sets it apart. The first of a class stands for it where
every part is combined with every other (`tests/composition.py`).
"""

from functools import partial

from pvae import priors as P

PRIORS = {
    "StandardNormal": P.StandardNormal,
    "Normal": P.Normal,
    "Laplace, learned": partial(P.Laplace, learned=True),
    "Laplace": P.Laplace,
    "StudentT, learned": partial(P.StudentT, degrees_of_freedom=8, learned=True),
    "StudentT": P.StudentT,
    "Mixture": partial(P.Mixture, components=4),
    "VampPrior": partial(P.VampPrior, components=5),
    "VampPrior, learned weights": partial(P.VampPrior, components=5, learned_weights=True),
    "Flow": partial(P.Flow, layers=2, hidden=[8]),
    **{
        f"Flow, {kind}": partial(P.Flow, kind=kind, layers=2, hidden=[8])
        for kind in ("spline_coupling", "masked_autoregressive", "inverse_autoregressive")
    },
    "Autoregressive": partial(P.Autoregressive, components=3, hidden=[8]),
    "Autoregressive, one component": partial(P.Autoregressive, components=1, hidden=[8, 8]),
    "Nested": partial(P.Nested, hidden=(8,)),
    "TopDown": partial(P.TopDown, hidden=8),
    "StateSpace": partial(P.StateSpace, hidden=8),
    "Hyperspherical": P.Hyperspherical,
    "WrappedNormal, learned": partial(P.WrappedNormal, learned=True),
    "WrappedNormal": P.WrappedNormal,
    "UniformCodes": P.UniformCodes,
    "PixelCNN": partial(P.PixelCNN, hidden=6, layers=1),
    "OneHot": P.OneHot,
    "OneHot, groups": partial(P.OneHot, groups=2),
    "Bernoulli": P.Bernoulli,
    "Bernoulli, rare": partial(P.Bernoulli, probability=0.2),
}
CODES = {"UniformCodes", "PixelCNN"}  # priors over the codes of a posterior
ESTIMATED = {"Nested"}  # whose log_prob is an estimate, another one each time
