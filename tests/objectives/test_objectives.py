import pyro
import pytest
import torch
from pyro.infer import SVI
from torch.distributions import kl_divergence

from pvae.objectives import BetaELBO, Trace_ELBO, TraceMeanField_ELBO


def loss_and_gradient(objective, vae, x):
    vae.zero_grad()
    torch.manual_seed(1)
    loss = objective.loss_and_grads(vae.model, vae.guide, x)
    return loss, torch.cat([p.grad.flatten() for p in vae.parameters()])


def parts_by_hand(vae, x):
    torch.manual_seed(1)
    q = vae.encode(x)
    log_likelihood = vae.decode(q.rsample()).log_prob(x).sum()
    return log_likelihood, kl_divergence(q, vae.prior()).sum()


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
def test_beta_elbo_weighs_the_kl_alone(vae, x, beta):
    loss, gradient = loss_and_gradient(BetaELBO(beta), vae, x)
    vae.zero_grad()
    log_likelihood, kl = parts_by_hand(vae, x)
    by_hand = beta * kl - log_likelihood
    by_hand.backward()
    assert loss == pytest.approx(by_hand.item(), rel=1e-6)
    expected = torch.cat([p.grad.flatten() for p in vae.parameters()])
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
    torch.manual_seed(1)
    assert BetaELBO(beta).loss(vae.model, vae.guide, x) == pytest.approx(loss, rel=1e-6)


def test_beta_of_one_is_the_elbo(vae, x):
    loss, gradient = loss_and_gradient(BetaELBO(), vae, x)
    expected, expected_gradient = loss_and_gradient(TraceMeanField_ELBO(), vae, x)
    assert loss == expected
    torch.testing.assert_close(gradient, expected_gradient)


def test_pyros_objectives_agree_in_expectation(vae, x):
    particles = {"num_particles": 25, "vectorize_particles": True}
    losses = {
        objective: torch.tensor(
            [objective(**particles).loss(vae.model, vae.guide, x) for _ in range(20)]
        )
        for objective in (Trace_ELBO, TraceMeanField_ELBO, BetaELBO)
    }
    reference = losses[Trace_ELBO]
    for found in losses.values():
        error = (found.var() / 20 + reference.var() / 20).sqrt()
        assert abs(found.mean() - reference.mean()) < 4 * error + 1e-4


@pytest.mark.parametrize(
    ("arguments", "weights"),
    [
        ({"beta": 2.0}, [2.0] * 9),
        ({"beta": 2.0, "warmup_steps": 4}, [0, 0.5, 1.0, 1.5, 2, 2, 2, 2, 2]),
        ({"warmup_steps": 2, "cycle_steps": 4}, [0, 0.5, 1, 1, 0, 0.5, 1, 1, 0]),
        ({"warmup_steps": 2, "cycle_steps": 2}, [0, 0.5, 0, 0.5, 0, 0.5, 0, 0.5, 0]),
    ],
)
def test_warm_up(vae, x, arguments, weights):
    objective = BetaELBO(**arguments)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), loss=objective)
    found = []
    for _ in weights:
        found.append(objective.weight)
        svi.evaluate_loss(x)  # is no step
        svi.step(x)
    assert found == weights


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"beta": -1.0}, "beta is -1.0"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"warmup_steps": 5, "cycle_steps": 4}, "cycle_steps is 4"),
        ({"cycle_steps": 0}, "cycle_steps is 0"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        BetaELBO(**arguments)
