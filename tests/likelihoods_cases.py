"""Every likelihood in its variants, small, called as likelihood(latent_dim, event_shape, network).

A case is named by its class, and what sets it apart. The first of a class stands for it where
every part is combined with every other (`tests/composition.py`).
"""

from functools import partial

from pvae import likelihoods as L

SCALES = ("learned", 0.3, "element", "predicted")

LIKELIHOODS = {
    "Bernoulli": L.Bernoulli,
    "Bernoulli, relaxed": partial(L.Bernoulli, relaxed=True),
    "ContinuousBernoulli": L.ContinuousBernoulli,
    **{
        f"{make.__name__}, scale {scale}": partial(make, scale=scale)
        for make in (L.Beta, L.LogitNormal, L.Laplace, L.StudentT, L.LogNormal, L.Gamma)
        for scale in ("learned", "predicted")
    },
    **{f"Gaussian, scale {scale}": partial(L.Gaussian, scale=scale) for scale in SCALES},
    "Gaussian, scale optimal": partial(L.Gaussian, scale="optimal"),
    "Categorical": partial(L.Categorical, levels=5),
    "Binomial": partial(L.Binomial, levels=17),
    **{
        f"{make.__name__}, scale {scale}": partial(make, scale=scale, levels=17)
        for make in (L.DiscretizedLogistic, L.DiscretizedGaussian)
        for scale in ("learned", "predicted")
    },
    "DiscretizedLogisticMixture": partial(L.DiscretizedLogisticMixture, components=3, levels=17),
    **{
        f"{make.__name__}, exposure {exposure}": partial(make, exposure=exposure)
        for make in (L.Poisson, L.ZeroInflatedPoisson)
        for exposure in (None, 5.0, "observed")
    },
    **{
        f"{make.__name__}, {dispersion}, exposure {exposure}": partial(
            make, dispersion=dispersion, exposure=exposure
        )
        for make in (L.NegativeBinomial, L.ZeroInflatedNegativeBinomial)
        for dispersion, exposure in (("learned", None), ("predicted", 5.0), ("learned", "observed"))
    },
    "Multinomial": L.Multinomial,
    "Padded": L.Padded,
    "Padded, Beta": partial(L.Padded, likelihood=L.Beta),
}
