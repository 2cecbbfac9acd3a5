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
