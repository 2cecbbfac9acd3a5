import pytest
import torch
from torch.autograd.functional import jacobian

from pvae.priors import Flow

KINDS = ["affine_coupling", "spline_coupling", "masked_autoregressive", "inverse_autoregressive"]


@pytest.fixture(params=KINDS)
def flow(request):
    return Flow(4, kind=request.param, layers=3, hidden=[16]).double()


def push(p, x):
    for transform in p.transforms:
        x = transform(x)
    return x


def test_log_density_by_the_jacobian(flow):
    x = 2 * torch.randn(4, dtype=torch.float64)
    z = push(flow(), x).detach()
    forward = jacobian(lambda x: push(flow(), x), x)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum()
    torch.testing.assert_close(flow().log_prob(z), base - forward.slogdet().logabsdet)


def test_inverts(flow):
    x = 3 * torch.randn(100, 4, dtype=torch.float64)
    z = push(flow(), x)
    for transform in reversed(flow().transforms):
        z = transform.inv(z)
    torch.testing.assert_close(z, x)


def test_density_does_not_depend_on_the_cache(flow):
    p = flow()
    with torch.no_grad():
        z = p.rsample((5,))
    others = torch.randn(5, 4, dtype=torch.float64)
    expected = [flow().log_prob(v) for v in (z, others)]
    for _ in range(2):
        torch.testing.assert_close(p.log_prob(z), expected[0])
        torch.testing.assert_close(p.log_prob(others), expected[1])
    flow.zero_grad()
    p.log_prob(z).sum().backward()
    remembered = [q.grad.clone() for q in flow.parameters()]
    flow.zero_grad()
    flow().log_prob(z.clone()).sum().backward()
    for grad, q in zip(remembered, flow.parameters(), strict=True):
        torch.testing.assert_close(grad, q.grad)


def test_draws_have_gradients(flow):
    flow().rsample((50,)).square().sum().backward()
    assert all(q.grad is not None and q.grad.abs().sum() > 0 for q in flow.parameters())


def test_every_latent_is_changed(flow):
    x = torch.randn(4, dtype=torch.float64)
    p = flow()
    assert not torch.isin(push(p, x), x).any()


def test_far_values_are_finite(flow):
    z = torch.full((2, 4), 30.0, dtype=torch.float64) * torch.tensor([[1.0], [-1.0]])
    z.requires_grad_()
    log_prob = flow.float()().log_prob(z.float())
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert z.grad.isfinite().all()
    assert all(q.grad.isfinite().all() for q in flow.parameters() if q.grad is not None)


def test_steep_splines_are_finite_in_single_precision():
    flow = Flow(10, kind="spline_coupling")
    for parameter in flow.parameters():
        parameter.data *= 3
    z = 2 * torch.randn(2000, 10)
    log_prob = flow().log_prob(z)
    draws = flow().rsample((2000,))
    (log_prob.sum() + draws.sum()).backward()
    assert log_prob.isfinite().all()
    assert draws.isfinite().all()
    assert all(p.grad.isfinite().all() for p in flow.parameters())
    error = (log_prob - flow.double()().log_prob(z.double())).abs()
    assert error.median() < 1e-3


def test_splines_of_zeros_are_the_identity():
    flow = Flow(5, kind="spline_coupling", layers=1)
    for parameter in flow.parameters():
        parameter.data.zero_()
    z = 3 * torch.randn(100, 5)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(flow().log_prob(z), expected)
