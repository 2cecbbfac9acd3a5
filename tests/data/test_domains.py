"""The domain of values is detected."""

import pytest
import torch

from pvae.data.domains import all_within, detect, within


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (torch.tensor([True, True]), ("binary", (0, 1))),
        (torch.tensor([0, 1], dtype=torch.uint8), ("binary", (0, 1))),
        (torch.tensor([0, 1]), ("binary", (0, 1))),
        (torch.tensor([0.0, 1.0]), ("binary", (0, 1))),
        (torch.tensor([0, 2], dtype=torch.uint8), ("bytes", (0, 255))),
        (torch.tensor([3, 12]), ("counts", (0, 12))),
        (torch.tensor([-1, 1]), ("reals", (-1, 1))),
        (torch.tensor([0.0, 0.5]), ("unit interval", (0, 0.5))),
        (torch.tensor([0.5, 1.0]), ("unit interval", (0.5, 1))),
        (torch.tensor([0.5, 1.5]), ("positive reals", (0.5, 1.5))),
        (torch.tensor([0.0, 1.5]), ("reals", (0, 1.5))),
        (torch.tensor([-0.5, 0.5]), ("reals", (-0.5, 0.5))),
    ],
)
def test_detects_each_domain(x, expected):
    assert detect(x) == expected


@pytest.mark.parametrize(
    "domain",
    ["binary", "unit interval", "open unit interval", "bytes", "counts", "positive reals", "reals"],
)
def test_all_values_are_within_if_each_is(domain):
    special = [-1.0, -1e-30, -0.0, 1e-40, 0.5, 1.0, 1.0000001, 2.0, 16.0, 17.0, 1e30]
    for value in (*special, torch.nan, torch.inf, -torch.inf):
        x = (
            torch.tensor([1.0, value, 1.0])
            if domain != "open unit interval"
            else torch.tensor([value])
        )
        assert all_within(x, domain, 17) == bool(within(x, domain, 17).all()), value


def test_nan_and_infinity_are_counted_and_placed(fails):
    x = torch.zeros(4, 3)
    x[2, 1], x[3, 0] = torch.nan, torch.inf
    with fails(ValueError, "2 NaN or infinite", "(2, 1)"):
        detect(x)


def test_no_values_are_an_error(fails):
    with fails(ValueError, "(0, 5)"):
        detect(torch.zeros(0, 5))
