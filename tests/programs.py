"""Pyro programs of many kinds: each is a function that makes model, guide and arguments."""

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import constraints
from pyro.infer import (
    RenyiELBO,
    ReweightedWakeSleep,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoIAFNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import nn

import pvae
from pvae.objectives import BetaELBO


class Regression(PyroModule):
    """Bayesian linear regression, with priors over its weights and noise."""

    def __init__(self, features):
        super().__init__()
        self.linear = PyroModule[nn.Linear](features, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, features]).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(0.0, 10.0).expand([1]).to_event(1))

    def forward(self, x, y=None):
        sigma = pyro.sample("sigma", dist.LogNormal(0.0, 1.0))
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("data", len(x)):
            return pyro.sample("y", dist.Normal(mean, sigma), obs=y)


def regression(guide):
    x = torch.randn(30, 3)
    model = Regression(3)
    return model, guide(model), (x, x.sum(-1) + 0.1 * torch.randn(30))


def mixture():
    """A mixture of two normals; its assignments are summed out in the model."""
    x = torch.cat([torch.randn(20) - 4, torch.randn(30) + 4])

    @config_enumerate
    def model(x):
        weights = pyro.sample("weights", dist.Dirichlet(0.5 * torch.ones(2)))
        scale = pyro.sample("scale", dist.LogNormal(0.0, 2.0))
        with pyro.plate("components", 2):
            locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
        with pyro.plate("data", len(x)):
            assignment = pyro.sample("assignment", dist.Categorical(weights))
            pyro.sample("x", dist.Normal(locs[assignment], scale), obs=x)

    guide = AutoDelta(poutine.block(model, expose=["weights", "locs", "scale"]))
    return model, guide, (x,)


def amortized_assignments():
    """The same with assignments summed out in the guide, whose probabilities it learns."""
    x = torch.cat([torch.randn(10) - 4, torch.randn(10) + 4])

    def model(x):
        locs = pyro.param("locs", torch.tensor([-1.0, 1.0], dtype=x.dtype))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(torch.ones(2, dtype=x.dtype) / 2))
            pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

    @config_enumerate
    def guide(x):
        logits = pyro.param("logits", lambda: torch.randn(len(x), 2, dtype=x.dtype))
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=logits))

    return model, guide, (x,)


def score_function():
    """Discrete latents without enumeration: a Bernoulli variable chooses the rate of each datum."""
    x = torch.tensor([0.0, 1.0, 2.0, 8.0, 9.0, 12.0])

    def model(x):
        rates = pyro.param("rates", x.new_tensor([2.0, 5.0]), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            coin = pyro.sample("coin", dist.Bernoulli(x.new_tensor(0.5)))
            pyro.sample("x", dist.Poisson(torch.where(coin > 0, rates[1], rates[0])), obs=x)

    def guide(x):
        p = pyro.param("p", x.new_full((len(x),), 0.4), constraint=constraints.unit_interval)
        with pyro.plate("data", len(x)):
            pyro.sample("coin", dist.Bernoulli(p))

    return model, guide, (x,)


def hierarchical():
    """Eight groups, each with its own mean; each step sees a subsample of the data of each."""
    y = torch.randn(40, 8) + torch.arange(8.0)

    def model(y):
        mean = pyro.sample("mean", dist.Normal(y.new_tensor(0.0), 10.0))
        spread = pyro.sample("spread", dist.HalfNormal(y.new_tensor(5.0)))
        with pyro.plate("groups", 8, dim=-1):
            group = pyro.sample("group", dist.Normal(mean, spread))
            with pyro.plate("data", 40, subsample_size=10, dim=-2) as rows:
                pyro.sample("y", dist.Normal(group, 1.0), obs=y[rows])

    def guide(y):
        for name in ("mean", "spread"):
            loc = pyro.param(f"{name}_loc", y.new_tensor(0.5))
            scale = pyro.param(f"{name}_scale", y.new_tensor(0.2), constraint=constraints.positive)
            pyro.sample(name, (dist.LogNormal if name == "spread" else dist.Normal)(loc, scale))
        with pyro.plate("groups", 8, dim=-1):
            loc = pyro.param("loc", y.new_zeros(8))
            scale = pyro.param("scale", y.new_full((8,), 0.3), constraint=constraints.positive)
            pyro.sample("group", dist.Normal(loc, scale))

    return model, guide, (y,)


class Module(PyroModule):
    """A module with a constrained parameter, batch normalization and dropout."""

    def __init__(self):
        super().__init__()
        self.scale = PyroParam(torch.tensor(0.5), constraint=constraints.positive)
        # Without a bias, which normalization takes away: its gradient would be rounding alone.
        linear = nn.Linear(4, 8, bias=False)
        self.net = nn.Sequential(linear, nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Tanh())
        self.head = nn.Linear(8, 4)

    def model(self, x):
        pyro.module("module", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(4), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.head(z.repeat(1, 2)), self.scale).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("module", self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.net(x)[:, :4], self.scale).to_event(1))


def module():
    made = Module()
    return made.model, made.guide, (torch.randn(16, 4),)


def vae(likelihood="Bernoulli", network="MLP", **arguments):
    shape = (1, 8, 8)
    nets = {"MLP": {"hidden": [16]}, "Conv": {"channels": [4]}}
    made = pvae.build(
        shape,
        3,
        likelihood=partial(getattr(pvae.likelihoods, likelihood), **arguments),
        network=lambda i, o: getattr(pvae.networks, network)(i, o, **nets[network]),
    )
    x = torch.rand(5, *shape)
    return made.model, made.guide, ((x < 0.5).float() if likelihood == "Bernoulli" else x,)


def particles(**arguments):
    return Trace_ELBO(num_particles=3, **arguments)


PROGRAMS = {
    "regression with AutoNormal": (lambda: regression(AutoNormal), Trace_ELBO),
    "regression with AutoMultivariateNormal": (
        lambda: regression(AutoMultivariateNormal),
        Trace_ELBO,
    ),
    "regression with AutoDiagonalNormal": (lambda: regression(AutoDiagonalNormal), particles),
    "regression with AutoLowRank": (
        lambda: regression(AutoLowRankMultivariateNormal),
        TraceMeanField_ELBO,
    ),
    "regression with AutoIAFNormal": (lambda: regression(AutoIAFNormal), Trace_ELBO),
    "mixture, enumerated in the model": (mixture, TraceEnum_ELBO),
    "mixture, enumerated in the guide": (amortized_assignments, TraceEnum_ELBO),
    "score function": (score_function, Trace_ELBO),
    "score function, several particles": (
        score_function,
        lambda: particles(vectorize_particles=True),
    ),
    "score function, Rényi": (score_function, lambda: RenyiELBO(0.5, num_particles=4)),
    "score function, by the graph of the trace": (score_function, TraceGraph_ELBO),
    "hierarchical, subsampled": (hierarchical, Trace_ELBO),
    "module with state": (module, TraceMeanField_ELBO),
    "VAE": (vae, Trace_ELBO),
    "VAE, convolutional": (lambda: vae(network="Conv"), TraceMeanField_ELBO),
    "VAE, Gaussian": (lambda: vae("Gaussian"), Trace_ELBO),
    "VAE, convolutional and Gaussian": (
        lambda: vae("Gaussian", "Conv", scale="predicted"),
        lambda: BetaELBO(beta=4.0, warmup_steps=3),
    ),
    "VAE, relaxed, cyclical": (
        lambda: vae(relaxed=True),
        lambda: BetaELBO(warmup_steps=2, cycle_steps=3, num_particles=2),
    ),
    "VAE, Rényi": (
        vae,
        lambda: RenyiELBO(num_particles=4, vectorize_particles=True),
    ),
    "VAE, wake and sleep": (
        vae,
        lambda: ReweightedWakeSleep(num_particles=2, vectorize_particles=False),
    ),
}
