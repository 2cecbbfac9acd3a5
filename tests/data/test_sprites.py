import pytest
import torch

from pvae.data import load
from pvae.data.sprites import CLASSES, COUNTS, shapes


@pytest.fixture(scope="module")
def drawn():
    return shapes()


def test_every_combination_is_drawn_once(drawn):
    images, factors, names = drawn
    assert names == ("shape", "scale", "rotation", "x", "y")
    assert images.shape == (6144, 1, 32, 32)
    assert (images.dtype, factors.dtype) == (torch.uint8, torch.int64)
    assert images.unique().tolist() == [0, 1]
    levels = [torch.arange(count) for count in COUNTS]
    assert torch.equal(factors, torch.cartesian_prod(*levels))


def test_no_two_images_are_the_same(drawn):
    assert len(drawn.images.unique(dim=0)) == len(drawn.images)


def test_each_factor_does_what_it_is_called(drawn):
    images = drawn.images.view(*COUNTS, 32, 32)
    # Positions are 2 pixels apart, and no shape is cut off.
    x, y = images[:, :, :, 1:], images[:, :, :, :, 1:]
    assert torch.equal(x[..., 2:], images[:, :, :, :-1, ..., :-2])
    assert torch.equal(y[..., 2:, :], images[:, :, :, :, :-1, :-2, :])
    area = images.sum((-1, -2))
    assert (area == area[:, :, :, :1, :1]).all()
    assert (area.diff(dim=1) > 0).all()
    ratio = area[:, -1].float().mean((1, 2, 3)) / area[:, 0].float().mean((1, 2, 3))
    torch.testing.assert_close(ratio, torch.full((3,), 4.0), atol=0.25, rtol=0)
    square, ellipse, heart = images[:, 3, 0, 0, 0].bool()
    assert torch.equal(square, square.T)
    assert (ellipse.any(0).sum(), ellipse.any(1).sum()) == (18, 8)
    assert torch.equal(heart[:, :18], heart[:, :18].flip(-1))  # centred 9 pixels from the left
    rows = heart.sum(-1)[heart.any(-1)]
    assert rows[-1] < rows[0]  # its tip points down


def test_a_turn_is_counterclockwise(drawn):
    ellipses = drawn.images.view(*COUNTS, 32, 32)[1, 3, :, 0, 0].float()
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    up, right = 9 - (row + 0.5), column + 0.5 - 9
    mass = ellipses.sum((1, 2))
    moments = [(ellipses * m).sum((1, 2)) / mass for m in (right * right, up * up, right * up)]
    angle = 0.5 * torch.atan2(2 * moments[2], moments[0] - moments[1])
    torch.testing.assert_close(torch.rad2deg(angle), torch.arange(8) * 11.25, atol=2, rtol=0)


def test_other_sizes():
    assert shapes(16).images.shape == (6144, 1, 16, 16)
    with pytest.raises(ValueError, match="size is 0"):
        shapes(0)


def test_they_load_by_name(drawn):
    data = load("shapes")
    assert (data.domain, data.value_range, data.classes) == ("binary", (0.0, 1.0), CLASSES)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [4916, 614, 614]
    whole = load("shapes", validation=0, test=0).train
    assert torch.equal(whole.x, drawn.images)
    assert torch.equal(whole.y, drawn.factors[:, 0])
    again = load(**data.arguments)
    assert torch.equal(again.test.x, data.test.x)
    small = load("shapes", size=16, validation=0, test=0)
    assert torch.equal(small.train.x, shapes(16).images)
    wide = load("shapes", size=(12, 16), channels=3)
    assert wide.event_shape == (3, 12, 16)
    assert wide.train.x.unique().tolist() == [0, 1]
