"""Loss and gradients of a graph are the same after substitution; what has no form is kept."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Beta, NegativeBinomial
from torch.fx.experimental.proxy_tensor import make_fx

from pvae.inference.substitution import FORMS, LONG, has_long_forms, substitute


def traced(function, *tensors):
    return make_fx(function, tracing_mode="fake")(*tensors)


def targets(module):
    return {node.target for node in module.graph.nodes}


def with_gradients(function):
    def run(*tensors):
        leaves = [t.detach().requires_grad_() for t in tensors]
        with torch.enable_grad():
            value = function(*leaves)
        return value.detach(), *torch.autograd.grad(value.sum(), leaves)

    return run


def negative_binomial(r, logits):
    p = NegativeBinomial(r.exp(), logits=logits, validate_args=False)
    return p.log_prob(torch.arange(len(r)).float() * 3)


def beta(a, b):
    return Beta(a.exp(), b.exp(), validate_args=False).log_prob(torch.full_like(a, 0.3))


LOSSES = {
    "softplus": lambda x, y: F.softplus(x) + F.softplus(y, beta=2.0),
    "logsigmoid": lambda x, y: F.logsigmoid(x) * y,
    "Bernoulli": lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none"),
    "mean": F.binary_cross_entropy_with_logits,
    "sum": lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="sum"),
    "negative binomial": negative_binomial,
    "beta": beta,
    "lgamma": lambda x, y: torch.lgamma(x) * y.tanh(),
    "tail": lambda x, y: torch.special.log_ndtr(x) + torch.special.erfcx(y) + torch.erfc(x),
    "derivatives of lgamma": lambda x, y: torch.digamma(x.exp()) * y.expm1() + x.logaddexp(y),
    "logarithms": lambda x, y: torch.xlogy(x, y.exp()) + x.exp().log1p() + x.exp().log(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_stay(name):
    torch.manual_seed(0)
    tensors = torch.randn(40) * 3, torch.randn(40)
    module = traced(with_gradients(LOSSES[name]), *tensors)
    other = substitute(module)
    assert not FORMS.keys() & targets(other)
    assert {node.op for node in other.graph.nodes} == {"placeholder", "call_function", "output"}
    for one, two in zip(module(*tensors), other(*tensors), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "tensor"),
    [
        (torch.lgamma, torch.rand(3, dtype=torch.float64)),
        (torch.log, torch.arange(1, 4)),
        (lambda x: F.softplus(x, threshold=1.0), torch.rand(3)),
        (lambda x: torch.polygamma(2, x), torch.rand(3)),
        (
            lambda x: F.binary_cross_entropy_with_logits(x, x, weight=x, reduction="none"),
            torch.rand(3),
        ),
    ],
)
def test_what_has_no_form_is_kept(function, tensor):
    module = traced(function, tensor)
    assert targets(substitute(module)) == targets(module)


def test_operators_that_write_stay_in_their_order():
    def run(x):
        y = x.clone()
        y.add_(1)
        z = y.log()
        y.mul_(2)
        return z, y

    x = torch.rand(5)
    for one, two in zip(run(x), substitute(traced(run, x))(x), strict=True):
        torch.testing.assert_close(one, two)


def test_long_forms_are_told_from_others():
    assert FORMS.keys() > LONG
    x = torch.rand(3)
    assert has_long_forms(traced(torch.lgamma, x))
    assert not has_long_forms(traced(torch.lgamma, x.double()))
    assert not has_long_forms(traced(torch.log, x))
