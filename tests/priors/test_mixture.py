import copy
import math

import pytest
import torch
from torch.distributions import Normal

from pvae.priors import Mixture, StandardNormal


def test_log_density_is_a_log_sum_of_exponentials():
    prior = Mixture(3, components=4).double()
    prior.logits.data = torch.randn(4, dtype=torch.float64)
    prior.log_scale.data = 0.3 * torch.randn(4, 3, dtype=torch.float64)
    z = torch.randn(5, 6, 3, dtype=torch.float64)
    total = torch.zeros(5, 6, dtype=torch.float64)
    for w, loc, log_scale in zip(prior.logits.softmax(0), prior.loc, prior.log_scale, strict=True):
        total += w * Normal(loc, log_scale.exp()).log_prob(z).sum(-1).exp()
    torch.testing.assert_close(prior().log_prob(z), total.log())


def test_starts_apart_and_as_wide_as_a_standard_normal():
    prior = Mixture(2, components=1000)
    assert torch.cdist(prior.loc, prior.loc).add(torch.eye(1000)).min() > 0
    torch.testing.assert_close(prior().mean, torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(prior().variance, torch.ones(2), rtol=0, atol=0.15)


def test_one_component_starts_at_the_standard_normal():
    z = torch.randn(5, 3)
    torch.testing.assert_close(
        Mixture(3, components=1)().log_prob(z), StandardNormal(3)().log_prob(z)
    )


@pytest.mark.parametrize("width", [1.0, 1e-3])
def test_products_lose_no_digits(width):
    torch.manual_seed(0)
    prior = Mixture(10, components=100)
    prior.log_scale.data = math.log(width) + 0.3 * torch.randn(100, 10)
    z = prior().sample((100,)).requires_grad_()
    exact = copy.deepcopy(prior).double()  # without products
    wide = z.detach().double().requires_grad_()
    found, expected = prior().expand((100,)).log_prob(z), exact().log_prob(wide)
    found.sum().backward(), expected.sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    pairs = [(z, wide), *zip(prior.parameters(), exact.parameters(), strict=True)]
    for one, other in pairs:
        error = (one.grad.double() - other.grad).abs().max()
        assert error < 2e-5 * other.grad.abs().max()


def test_infinitely_far_away_nothing_is_likely():
    far = torch.full((100, 10), math.inf)
    assert (Mixture(10, components=100)().expand((100,)).log_prob(far) == -math.inf).all()


def test_memory_is_not_that_of_every_difference():
    prior = Mixture(20, components=100)
    sizes = []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        prior().expand((50,)).log_prob(torch.randn(50, 20))
    assert max(sizes) <= 50 * 100
