"""VAEs whose evidence, posterior and KL from q to it are known exactly."""

from functools import partial

import torch
from torch import nn
from torch.distributions import Categorical, MultivariateNormal, kl_divergence

import pvae


class Affine(nn.Module):
    """A network W x + b, with a part of its output that does not depend on x."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x):
        return x @ self.weight.T + self.bias


class LinearGaussian:
    """Probabilistic PCA in closed form (Tipping and Bishop 1999), as a VAE of float64.

    p(z) = N(0, I), p(x|z) = N(W z + b, noise²), and q(z|x) the exact posterior, or, with scale
    and shift, one whose every standard deviation is scaled and every mean shifted.

    Args:
        latent_dim: the number of latents.
        observed: the number of elements of x.
        scale: factor of the standard deviations of q, 1 for the exact posterior.
        shift: added to the means of q, 0 for the exact posterior.
        family: of q: FullNormal, which holds the posterior, or DiagonalNormal, which holds the best
            independent normals: its ELBO is short by `gap`.
    """

    def __init__(self, latent_dim=2, observed=5, noise=0.5, scale=1.0, shift=0.0, family=None):
        family = family or pvae.posteriors.FullNormal
        g = torch.Generator().manual_seed(0)
        real = {"generator": g, "dtype": torch.float64}
        self.weight, self.bias = (
            torch.randn(observed, latent_dim, **real),
            torch.randn(observed, **real),
        )
        self.noise = noise
        covariance = self.weight @ self.weight.T + noise**2 * torch.eye(
            observed, dtype=torch.float64
        )
        self.evidence = MultivariateNormal(self.bias, covariance)
        precision = (
            torch.eye(latent_dim, dtype=torch.float64) + self.weight.T @ self.weight / noise**2
        )
        self.covariance = precision.inverse()
        self.gain = self.covariance @ self.weight.T / noise**2
        self.scale, self.shift, self.family = scale, shift, family
        self.vae = pvae.build(
            (observed,),
            latent_dim,
            likelihood=partial(
                pvae.likelihoods.Gaussian,
                scale=noise,
                network=lambda *_: Affine(self.weight, self.bias),
            ),
            posterior=partial(family, network=self._encoder),
        ).double()

    def _encoder(self, in_shape, out_shape):
        loc = self.shift - self.gain @ self.bias
        if self.family is pvae.posteriors.DiagonalNormal:
            rest = -0.5 * self.covariance.inverse().diagonal().log()
            rest = rest + torch.tensor(self.scale, dtype=torch.float64).log()
        else:
            # As FullNormal has it: diag(sigma) (I + B / d).
            tril = self.scale * torch.linalg.cholesky(self.covariance)
            diagonal = tril.diagonal()
            i, j = torch.tril_indices(*tril.shape, -1)
            rest = torch.cat([diagonal.log(), len(loc) * tril[i, j] / diagonal[i]])
        weight = torch.zeros(*out_shape, *in_shape, dtype=torch.float64)
        weight[: len(loc)] = self.gain
        return Affine(weight, torch.cat([loc, rest]))

    def posterior(self, x):
        """The exact p(z|x)."""
        return MultivariateNormal((x - self.bias) @ self.gain.T, self.covariance)

    def gap(self, x):
        """log p(x) minus the ELBO, KL(q(z|x) || p(z|x))."""
        q = self.vae.encode(x)
        if not isinstance(q, MultivariateNormal):
            q = MultivariateNormal(q.mean, q.variance.diag_embed())
        return kl_divergence(q, self.posterior(x)).detach()

    def sample(self, n, seed=0):
        """Data from the model."""
        g = torch.Generator().manual_seed(seed)
        return self.evidence.loc + torch.randn(
            n, len(self.bias), generator=g, dtype=torch.float64
        ) @ (self.evidence.scale_tril.T)


class Discrete:
    """A one-hot z of few categories and binary x: p(x) is a sum over the categories."""

    def __init__(self, categories=4, observed=6):
        torch.manual_seed(0)
        self.vae = pvae.build(
            (observed,),
            categories,
            prior=pvae.priors.OneHot,
            posterior=pvae.posteriors.RelaxedOneHot,
            network=partial(pvae.networks.MLP, hidden=[8]),
        ).double()
        self.categories, self.observed = categories, observed
        for p in self.vae.likelihood.parameters():
            p.data.mul_(3)

    def joint(self, x):
        """log p(x, z) for every z, shape (categories, n)."""
        z = torch.eye(self.categories, dtype=torch.float64)
        with torch.no_grad():
            p = self.vae.decode(z.unsqueeze(1))
            return p.log_prob(x) + self.vae.p_z().log_prob(z).unsqueeze(1)

    def log_evidence(self, x):
        """The exact log p(x)."""
        return self.joint(x).logsumexp(0)

    def posterior(self, x):
        """The exact p(z|x), over the number of the category."""
        return Categorical(logits=self.joint(x).T)

    def sample(self, n, seed=0):
        """Data from the model."""
        return self.vae.sample(n, seed=seed, draw=True)


class LabelledLinearGaussian:
    """Classes of equal covariance: p(x|y) = N(m_y, W W' + noise²), as a VAE with a classifier.

    p(x|z, y) = N(W z + m_y, noise²), p(y) is not uniform, and q(z|x, y) and q(y|x) are exact, so
    that every bound is tight. The exact classifier is a softmax of a linear function of x.
    """

    def __init__(self, latent_dim=2, observed=5, classes=3, noise=0.5):
        plain = LinearGaussian(latent_dim, observed, noise)
        real = {"generator": torch.Generator().manual_seed(1), "dtype": torch.float64}
        self.means = 2 * torch.randn(classes, observed, **real)
        self.log_p_y = torch.randn(classes, **real).log_softmax(0)
        covariance = plain.evidence.covariance_matrix
        self.evidence_of_class = MultivariateNormal(self.means, covariance)
        zeros = torch.zeros_like(plain.bias)
        decoder = Affine(torch.cat([plain.weight, self.means.T], dim=1), zeros)
        encoder = plain._encoder((observed,), (latent_dim * (latent_dim + 3) // 2,))
        encoder.weight.data = torch.cat(
            [encoder.weight, torch.zeros(len(encoder.weight), classes, dtype=torch.float64)], dim=1
        )
        encoder.weight.data[:latent_dim, observed:] = -plain.gain @ self.means.T
        encoder.bias.data[:latent_dim] = 0
        slopes = self.means @ covariance.inverse()
        intercepts = self.log_p_y - 0.5 * (slopes * self.means).sum(-1)
        self.vae = pvae.build(
            (observed,),
            latent_dim,
            likelihood=partial(pvae.likelihoods.Gaussian, scale=noise, network=lambda *_: decoder),
            posterior=partial(pvae.posteriors.FullNormal, network=lambda *_: encoder),
            conditional=True,
            classes=classes,
            classifier=partial(
                pvae.classifiers.Softmax, network=lambda *_: Affine(slopes, intercepts)
            ),
            class_prior="learned",
        ).double()
        self.vae.labels.logits.data = self.log_p_y

    def joint(self, x):
        """log p(x, y) for every class, shape (n, classes)."""
        return self.evidence_of_class.log_prob(x.unsqueeze(-2)) + self.log_p_y

    def sample(self, n, seed=0):
        """Data from the model, and their labels."""
        torch.manual_seed(seed)
        y = Categorical(logits=self.log_p_y).sample((n,))
        return self.evidence_of_class.sample((n,))[torch.arange(n), y], y
