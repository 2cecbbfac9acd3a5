"""A linear VAE of one number with normal distributions: all its densities are known."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn


class LinearVAE(nn.Module):
    """p(z) = N(0, 1), p(x|z) = N(w z, s²), q(z|x) = N(a x, r²), in float64.

    Args:
        exact: whether q is the exact posterior, else somewhat off.
    """

    def __init__(self, exact=False):
        super().__init__()
        w, s = 1.3, 0.7
        a, r = w / (w * w + s * s), (1 + (w / s) ** 2) ** -0.5
        if not exact:
            a, r = 1.15 * a, 1.1 * r
        self.decoder = nn.ParameterDict({"w": number(w), "s": number(s)})
        self.encoder = nn.ParameterDict({"a": number(a), "r": number(r)})

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            p = dist.Normal(self.decoder["w"] * z, self.decoder["s"])
            pyro.sample("x", p.to_event(1), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder["a"] * x, self.encoder["r"]).to_event(1))

    def log_evidence(self, x):
        scale = (self.decoder["w"] ** 2 + self.decoder["s"] ** 2).sqrt()
        return dist.Normal(0.0, scale).log_prob(x).sum().item()


class TwoLevels(LinearVAE):
    """The same with a second latent u, which q draws after z and makes depend on it."""

    def __init__(self):
        super().__init__()
        self.encoder["b"] = number(0.4)

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            u = pyro.sample("u", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            z = pyro.sample("z", dist.Normal(0.5 * u, 1.0).to_event(1))
            p = dist.Normal(self.decoder["w"] * z, self.decoder["s"])
            pyro.sample("x", p.to_event(1), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            q = dist.Normal(self.encoder["a"] * x, self.encoder["r"])
            z = pyro.sample("z", q.to_event(1))
            q = dist.Normal(self.encoder["b"] * z + 0.1 * x, self.encoder["r"])
            pyro.sample("u", q.to_event(1))


def number(value):
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


def gradients(objective, vae, x, seed=0):
    """Loss and gradients by name, from given noise."""
    objective.loss(vae.model, vae.guide, x)  # finds the plates, by a separate draw
    vae.zero_grad()
    torch.manual_seed(seed)
    loss = objective.loss_and_grads(vae.model, vae.guide, x)
    found = {
        n: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for n, p in vae.named_parameters()
    }
    return loss, found


def weighted_programs(vae):
    """The programs of a VAE, those with half of their weight, and those of 3 of 5 data alone."""
    programs = vae.model, vae.guide
    scaled = [pyro.poutine.scale(program, 0.5) for program in programs]
    kept = [pyro.poutine.mask(program, torch.arange(5) < 3) for program in programs]
    return programs, scaled, kept


def seeded_loss(objective, programs, x):
    """The loss at one set of random numbers."""
    pyro.set_rng_seed(0)
    return objective.loss(*programs, x)
