"""Each operator is split as it may be, or not at all."""

import pytest
import torch

from pvae.inference.sharding import NotSplit
from tests.inference.test_sharding import assert_equal, small, traced  # noqa: F401  # a fixture

# Each of these, split as if it were another, would give wrong numbers.
WRONG = {
    "a view of what is changed": lambda x, w: [_clamped(x.clone()[:, :2], x.clone()).sum()],
    "a part that is changed": lambda x, w: [_change_part(x.clone()).sum()],
    "a view taken before": lambda x, w: [_view_before(x.clone()).sum()],
    "items changed in place": lambda x, w: [x.mul_(2).sum()],
    "a part that is drawn": lambda x, w: [(x * _drawn_in_part(x) * w).sum()],
    "a view taken before a draw": lambda x, w: [(x[:, 0] * _view_before_draw(x)).sum()],
    "an input read, then drawn": lambda x, w: [((x + w) * w.normal_()).sum()],
    "out of a function": lambda x, w: [(x * torch.pow(2.0, w, out=w)).sum()],
    "two changes of an input": lambda x, w: [(x * w.mul_(0.5).add_(1)).sum()],
    "a sum that is rounded": lambda x, w: [x.sum().long() * w.sum()],
    "a sum that is compared": lambda x, w: [(x.sum() > 1) * w.sum()],
    "a product of sums": lambda x, w: [x.sum() * x.sum()],
    "rows of a table": lambda x, w: [torch.gather(w.view(-1, 1), 0, x[:, :1].long()).sum()],
    "other rows of a table": lambda x, w: [w.expand(10, 3).gather(1, x.long()).sum()],
    "items in reverse": lambda x, w: [(x.flip(0) * x).sum()],
    "running sums": lambda x, w: [(x.cumsum(0) * w).sum()],
    "shares of items": lambda x, w: [(x.softmax(0) * w).sum()],
    "the largest": lambda x, w: [x.amax() * w.sum()],
    "products of items": lambda x, w: [(x @ x.t()).sum()],
    "an item of its own": lambda x, w: [(x[0] * w).sum()],
    "items and others": lambda x, w: [torch.cat([x, w[None]]).sum()],
    "a type of items": lambda x, w: [x.clone().add_(w.double()).sum()],
}


def _clamped(part, _):
    return part.clamp_(max=0.5)


def _change_part(y):
    y[:, :2].clamp_(max=0.5)
    return y


def _drawn_in_part(x):
    noise = torch.zeros(8, 3)
    noise[:, :2].normal_()
    return noise


def _view_before_draw(x):
    noise = torch.empty(8, 3)
    view = noise[:, 0]
    noise.normal_()
    return view


def _view_before(y):
    view = y[:, 0]
    y.mul_(2)
    return view


@pytest.mark.parametrize("name", WRONG)
def test_what_would_be_wrong_is_not_split(name):
    with pytest.raises(NotSplit):
        traced(WRONG[name], torch.rand(8, 3), torch.rand(3))


RIGHT = {
    "a table of items": lambda x, w: [x.gather(1, (2 * x).long()).sum()],
    "a mean": lambda x, w: [(x * w).mean()],
    "a mean of each": lambda x, w: [(x * w).mean(1).sum(), (x * w).mean(0)],
    "sizes that are equal": lambda x, w: [(x * torch.full((8, 1), 2.0) * w).sum()],
    "a change of what was made": lambda x, w: [(x * w).add_(1).clamp_(max=2).sum()],
    "kept dimensions": lambda x, w: [(x - x.amax(1, keepdim=True)).exp().sum(0, keepdim=True) * w],
    "samples of items": lambda x, w: [(x.expand(5, 8, 3).reshape(40, 3) * w).exp().sum(0)],
    "samples, then items": lambda x, w: [
        (x.expand(5, 8, 3).reshape(40, 3) * w).view(5, 8, 3).logsumexp(0).sum()
    ],
    "parts of items": lambda x, w: [(x.reshape(24)[:, None] * w).view(8, 9).sum(0)],
    "products of each": lambda x, w: [torch.bmm(x[:, :, None], x[:, None, :]).sum((0, 1)) * w],
    "stacked": lambda x, w: [torch.stack([x, x.exp(), w.expand(8, 3)]).sum((0, 1))],
    "padded": lambda x, w: [torch.nn.functional.pad(x, (1, 2)).sum(0)],
    "draws": lambda x, w: [
        (x * torch.randn_like(x) * torch.rand(8, 1) * torch.randn(3) * w).sum(0)
    ],
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_split(name):
    function, tensors = RIGHT[name], (torch.rand(8, 3), torch.rand(3))
    sharding = traced(function, *tensors)
    torch.manual_seed(0)
    whole = function(*tensors)
    torch.manual_seed(0)
    parts = [sharding.shard(*inputs) for inputs in sharding.inputs(tensors)]
    sums = [sum(part[i] for part in parts) for i in range(len(whole))]
    assert sharding.partial == [True] * len(whole)
    assert_equal(whole, sums)
