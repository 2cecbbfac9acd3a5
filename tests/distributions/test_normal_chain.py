import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from pvae.distributions import NormalChain

STEPS, SIZE = 5, 2


def linear(dtype=torch.float64, context=True, seed=0):
    """A chain whose transition is linear, and the joint normal that it is."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    A, loc, scale = draw(SIZE, SIZE), draw(SIZE), draw(SIZE).exp()
    noise, c = draw(SIZE).exp(), [draw(STEPS - 1, SIZE)] if context else []

    def transition(z, c=0):
        mean = z @ A.T + c
        return mean, noise.expand_as(mean)

    # z = M e + m for independent noise e of all steps
    powers = [torch.linalg.matrix_power(A, k) for k in range(STEPS)]
    M = torch.zeros(STEPS, SIZE, STEPS, SIZE, dtype=dtype)
    mean = [loc]
    for t in range(STEPS):
        for s in range(t + 1):
            M[t, :, s] = powers[t - s] * (scale if s == 0 else noise)
        if t:
            mean.append(A @ mean[-1] + (c[0][t - 1] if context else 0))
    M = M.reshape(STEPS * SIZE, STEPS * SIZE)
    joint = MultivariateNormal(torch.cat(mean), M @ M.T)
    return NormalChain(transition, loc, scale, STEPS, *c), joint


@pytest.mark.parametrize("context", [True, False])
def test_a_linear_chain_is_a_joint_normal(context):
    chain, joint = linear(context=context)
    z = torch.randn(3, 4, STEPS * SIZE, dtype=torch.float64)
    torch.testing.assert_close(chain.log_prob(z), joint.log_prob(z))
    torch.manual_seed(0)
    drawn = chain.sample((20_000,))
    whitened = torch.linalg.solve_triangular(joint.scale_tril, (drawn - joint.loc).T, upper=False).T
    covariance = whitened.T @ whitened / len(drawn)
    assert whitened.mean(0).abs().max() < 5 / len(drawn) ** 0.5
    assert (covariance - torch.eye(STEPS * SIZE)).abs().max() < 5 * (2 / len(drawn)) ** 0.5


def test_gradients_of_draws_are_those_of_the_map_from_noise():
    chain, _ = linear()
    chain.loc.requires_grad_(), chain.context[0].requires_grad_()

    def draw(loc, context):
        torch.manual_seed(1)
        return NormalChain(chain.transition, loc, chain.scale, STEPS, context).rsample((2,))

    assert torch.autograd.gradcheck(draw, (chain.loc, *chain.context))


def test_batches_and_single_states():
    chain, _ = linear()
    batch = chain.expand((3,))
    z = batch.sample((2,))
    assert z.shape == (2, 3, STEPS * SIZE)
    torch.testing.assert_close(batch.log_prob(z[0, 0]), chain.log_prob(z[0, 0]).expand(3))
    one = NormalChain(None, torch.zeros(2), torch.ones(2), 1)
    assert one.log_prob(torch.zeros(2)) == pytest.approx(-math.log(2 * math.pi))
    assert one.sample((4,)).shape == (4, 2)
