import copy
from functools import partial

import pytest
import torch
from torch import nn

from pvae.networks import MLP
from pvae.posteriors import DiagonalNormal
from pvae.priors import VampPrior

EVENT = (2, 3, 3)


class Parts(nn.Module):
    """As a VAE holds them."""

    def __init__(self, components=5, **options):
        super().__init__()
        self.prior = VampPrior(2, components, **options)
        self.posterior = DiagonalNormal(EVENT, 2, network=partial(MLP, hidden=[8]))
        self.prior.connect(self.posterior)


def test_log_density_is_a_log_sum_of_posteriors():
    parts = Parts(learned_weights=True).double()
    parts.prior.logits.data = torch.randn(5, dtype=torch.float64)
    z = torch.randn(7, 3, 2, dtype=torch.float64)
    q = [parts.posterior(u).log_prob(z) for u in parts.prior.pseudo_inputs]
    by_hand = torch.logsumexp(torch.stack(q, -1) + parts.prior.logits.log_softmax(-1), -1)
    torch.testing.assert_close(parts.prior().log_prob(z), by_hand)


def test_the_posterior_stays_its_own():
    parts = Parts()
    assert [name for name, _ in parts.prior.named_parameters()] == ["raw_inputs"]
    assert set(parts.prior.state_dict()) == {"raw_inputs", "low", "width"}
    assert len(list(parts.modules())) == 2 + len(list(parts.posterior.modules()))
    z = torch.randn(3, 2)
    parts.prior().log_prob(z).sum().backward()
    assert all(p.grad is not None for p in parts.posterior.parameters())


def test_copies_know_the_posterior_of_the_copy():
    parts = Parts()
    copied = copy.deepcopy(parts)
    z = torch.randn(3, 2)
    before = parts.prior().log_prob(z)
    copied.posterior.network.output_bias.data += 1
    torch.testing.assert_close(parts.prior().log_prob(z), before)
    assert (copied.prior().log_prob(z) - before).abs().min() > 1e-3


def test_follows_to_another_dtype():
    parts = Parts()
    assert parts.double().prior().sample().dtype == torch.float64
    other = VampPrior(2, 5)
    other.connect(parts.posterior)
    assert other.raw_inputs.dtype == torch.float64


def test_state_is_loaded_after_it_is_built():
    parts, built = Parts(learned_weights=True), Parts(learned_weights=True)
    parts.prior.initialize(torch.randn(30, *EVENT))
    parts.prior.logits.data = torch.randn(5)
    built.load_state_dict(parts.state_dict())
    torch.testing.assert_close(built.prior.pseudo_inputs, parts.prior.pseudo_inputs)
    z = torch.randn(3, 2)
    torch.testing.assert_close(built.prior().log_prob(z), parts.prior().log_prob(z))


def test_begins_in_the_unit_interval():
    u = Parts(components=100).prior.pseudo_inputs
    assert u.min() >= 0
    assert u.max() <= 1
    assert u.std() > 0.2


def test_begins_at_data_without_replacement():
    parts = Parts(components=20)
    held = parts.prior.raw_inputs
    x = torch.randn(20, *EVENT) * torch.tensor([1.0, 50.0]).view(2, 1, 1)
    parts.prior.initialize(x)
    assert parts.prior.raw_inputs is held
    u = parts.prior.pseudo_inputs.detach()
    scale = torch.tensor([1.0, 50.0]).view(2, 1, 1)
    distance = torch.cdist((u / scale).flatten(1), (x / scale).flatten(1))
    assert distance.min(1).values.max() < 0.2
    assert distance.argmin(1).unique().numel() == 20


def test_stays_in_the_range_of_each_channel():
    parts = Parts()
    x = torch.rand(10, *EVENT) * torch.tensor([1.0, 255.0]).view(2, 1, 1) - 3
    parts.prior.initialize(x)
    with torch.no_grad():
        parts.prior.raw_inputs.mul_(100)
    u = parts.prior.pseudo_inputs
    for channel in range(2):
        assert u[:, channel].min() >= x[:, channel].min() - 1e-5
        assert u[:, channel].max() <= x[:, channel].max() + 1e-4


def test_binary_data_have_gradients_and_constant_channels_are_finite():
    parts = Parts()
    x = torch.bernoulli(torch.full((10, *EVENT), 0.5))
    x[:, 1] = 7.0
    parts.prior.initialize(x)
    u = parts.prior.pseudo_inputs
    torch.testing.assert_close(u[:, 1], torch.full_like(u[:, 1], 7.0))
    parts.prior().log_prob(torch.randn(2)).backward()
    grad = parts.prior.raw_inputs.grad
    assert grad.isfinite().all()
    assert (grad[:, 0] != 0).all(-1).any()


def test_connecting_again_keeps_what_was_learned():
    parts = Parts()
    held = parts.prior.raw_inputs
    parts.prior.connect(DiagonalNormal(EVENT, 2))
    assert parts.prior.raw_inputs is held
    parts.prior.connect(DiagonalNormal((4,), 2))
    assert parts.prior.pseudo_inputs.shape == (5, 4)


def test_misuse():
    prior = VampPrior(2, 5)
    with pytest.raises(RuntimeError, match="connect"):
        prior()
    with pytest.raises(RuntimeError, match="connect"):
        prior.initialize(torch.rand(10, *EVENT))
    with pytest.raises(ValueError, match="Linear has no context_shape"):
        prior.connect(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"event shape \(3,\), the prior .* \(2,\)"):
        prior.connect(DiagonalNormal(EVENT, 3))
    with pytest.raises(ValueError, match="5 pseudo-inputs and 4 data"):
        Parts().prior.initialize(torch.rand(4, *EVENT))
    with pytest.raises(ValueError, match=r"event shape \(3, 3, 3\), .* given \(2, 3, 3\)"):
        Parts().prior.initialize(torch.rand(10, 3, 3, 3))
