"""A type checker finds nothing in the package, nor in a script that uses it, but finds mistakes."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What `mypy --strict` adds, which a configuration can ask for of a single file in this form alone.
STRICT = """\
# mypy: disallow-any-generics, disallow-incomplete-defs, disallow-subclassing-any
# mypy: disallow-untyped-calls, disallow-untyped-decorators, disallow-untyped-defs
# mypy: check-untyped-defs, extra-checks, strict-bytes, strict-equality
# mypy: warn-return-any, warn-unused-ignores, no-implicit-reexport
"""

SCRIPT = """
from functools import partial

import numpy as np
import pyro
import torch
from pyro.distributions import Independent, TorchDistribution
from torch import Tensor, nn

import pvae

data = pvae.data.load("digits", validation=0.2)
vae = pvae.build(
    data.event_shape,
    latent_dim=2,
    prior=partial(pvae.priors.Mixture, components=5),
    likelihood=pvae.likelihoods.Bernoulli,
    network=partial(pvae.networks.MLP, hidden=[400]),
)
history: pvae.training.History = pvae.fit(
    vae,
    data,
    epochs=1,
    objective=pvae.objectives.BetaELBO(beta=2.0),
    optimizer=partial(torch.optim.AdamW, weight_decay=0.01),
    warmup=1000,
    run="runs/my-digits",
)
pvae.plots.save(pvae.plots.loss_curves(history), "loss.png")
objective = pyro.infer.Trace_ELBO()  # type: ignore[no-untyped-call]  # of Pyro
pvae.fit(vae, np.zeros((50, 3)), objective=objective, patience=None)

vae = pvae.load("runs/my-digits")
print(pvae.evaluation.evaluate(vae, data, "test"))
x = data.batch(vae, "test", n=100)
q = vae.encode(x)
means: Tensor = q.mean
pvae.plots.samples(vae.sample(16, seed=0))
found = pvae.evaluation.log_likelihood(vae, x, num_samples=100)
bound: float = found.log_prob.mean().item()
known: Tensor = found.pareto_k
score = pvae.evaluation.anomaly_score(vae, x, reference=x, correction="typicality").score
fitted: pvae.training.History = pvae.refit_prior(vae, data, pvae.priors.VampPrior)


class Cauchy(nn.Module):
    scale: Tensor

    def __init__(self, latent_dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((latent_dim,), scale))

    def forward(self) -> TorchDistribution:
        return Independent(pyro.distributions.Cauchy(0.0, self.scale), 1)


class Linear(nn.Module):
    domain = "reals"

    def __init__(self, latent_dim: int, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(*event_shape, latent_dim))

    def forward(self, z: Tensor) -> TorchDistribution:
        return Independent(pyro.distributions.Normal(z @ self.weight.T, 1.0), 1)


own = pvae.VAE(Cauchy(2), Linear(2, (3,)), pvae.posteriors.DiagonalNormal((3,), 2))
optim = pvae.inference.Optimizer([*own.parameters()], torch.optim.Adam)
svi = pvae.inference.CompiledSVI(own.model, own.guide, optim, objective)
loss = float(svi.step(torch.zeros(5, 3)))
prior: pvae.interfaces.Prior = own.prior
pvae.build((3,), latent_dim=2, prior=partial(Cauchy, scale=2.0), likelihood=Linear)

labels = pvae.Labels(classes=10)
labelled = pvae.VAE(Cauchy(2), Linear(12, (3,)), pvae.posteriors.Delta((13,), 2), labels)
labelled.sample(3, y=[1, 2, 3])
labelled.interpolate(torch.zeros(3), torch.ones(3), y=(0, 1))
"""

MISTAKES = """
from functools import partial

import torch

import pvae

data = pvae.data.load("digits", validaton=0.2)  # call-arg
vae = pvae.build(data.event_shape, latent_dims=2)  # call-arg
vae.sample("16")  # arg-type
partial(pvae.networks.MLP, hiden=[400])  # call-arg
pvae.fit(vae, data, objective=pvae.objectives.BetaELBO)  # arg-type
pvae.fit(vae, data, keep="worst")  # arg-type
pvae.evaluation.log_likelihood(vae, torch.zeros(5, 1, 8, 8)).log_probs  # attr-defined
pvae.evaluation.log_likelyhood(vae, torch.zeros(5, 1, 8, 8))  # attr-defined
pvae.priors.Gaussian(2)  # attr-defined
pvae.VAE(pvae.priors.Normal, vae.likelihood, vae.posterior)  # arg-type
data.tests  # attr-defined
"""


def test_the_package_and_a_script_have_no_type_error_and_mistakes_are_found(tmp_path):
    script, mistakes = tmp_path / "script.py", tmp_path / "mistakes.py"
    script.write_text(STRICT + SCRIPT)
    mistakes.write_text(STRICT + MISTAKES)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context"]
    run = subprocess.run(
        [*command, "pvae", script, mistakes], cwd=ROOT, capture_output=True, text=True
    )
    errors = re.findall(r"^(.*?\w+\.py):(\d+): error: .*?\[([\w-]+)\]$", run.stdout, re.MULTILINE)
    assert [error for error in errors if Path(error[0]).name != "mistakes.py"] == [], run.stdout
    planted = [line.partition("  # ")[2] for line in mistakes.read_text().splitlines()]
    expected = [(str(number), code) for number, code in enumerate(planted, 1) if code]
    assert [(number, code) for _, number, code in errors] == expected, run.stdout + run.stderr
