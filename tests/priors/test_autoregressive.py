import torch
from torch.autograd.functional import jacobian
from torch.distributions import Normal

from pvae.priors import Autoregressive


def test_latents_depend_on_earlier_ones_alone():
    prior = Autoregressive(5, components=2, hidden=[16, 16]).double()
    z = torch.randn(20, 5, dtype=torch.float64)
    depends = sum(jacobian(lambda z: prior.conditionals(z).mean, row).abs() for row in z)
    assert (depends.triu() == 0).all()
    assert (depends.tril(-1).sum(-1)[1:] > 0).all()


def test_log_density_by_hand():
    prior = Autoregressive(3, components=4, hidden=[8]).double()
    z = torch.randn(6, 3, dtype=torch.float64)
    by_hand = torch.zeros(6, dtype=torch.float64)
    for i in range(3):
        given = z.clone()
        given[:, i:] = 100 * torch.randn(6, 3 - i, dtype=torch.float64)  # must not matter
        raw = prior.network(given)[..., i]
        logits, loc, log_scale = raw.chunk(3, -1)
        parts = logits.log_softmax(-1) + Normal(loc, log_scale.exp()).log_prob(z[:, i : i + 1])
        by_hand += parts.logsumexp(-1)
    torch.testing.assert_close(prior().log_prob(z), by_hand)


def test_starts_about_as_wide_as_a_standard_normal():
    z = Autoregressive(4, components=20)().sample((2000,))
    assert z.mean(0).abs().max() < 0.7
    assert ((z.std(0) > 0.6) & (z.std(0) < 1.5)).all()
