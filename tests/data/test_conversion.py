"""Stored values convert to the domain of a likelihood, or are refused."""

from typing import get_args

import pytest
import torch

from pvae.data.conversion import convert
from pvae.data.domains import DEQUANTIZED, Domain, check, detect

DOMAINS = get_args(Domain)
SAMPLES = {
    "binary": (torch.tensor([0.0, 1.0]), (0.0, 1.0)),
    "unit interval": (torch.tensor([0.25, 1.0]), (0.25, 1.0)),
    "open unit interval": (torch.tensor([0.25, 0.75]), (0.25, 0.75)),
    "bytes": (torch.tensor([0, 255], dtype=torch.uint8), (0.0, 255.0)),
    "counts": (torch.tensor([0, 7]), (0.0, 7.0)),
    "positive reals": (torch.tensor([0.5, 3.0]), (0.5, 3.0)),
    "reals": (torch.tensor([-1.5, 3.0]), (-1.5, 3.0)),
}
POSSIBLE = {
    "binary": {"binary", "unit interval", "open unit interval", "bytes"},
    "unit interval": {"binary", "unit interval", "open unit interval", "bytes"},
    "open unit interval": {"open unit interval", "bytes"},  # and others without zeros and ones
    "bytes": {"bytes"},
    "counts": {"binary", "bytes", "counts"},
    "positive reals": {"unit interval", "open unit interval", "bytes", "positive reals"},
    "reals": set(DOMAINS),
}


def levels(high, repeats):
    return torch.arange(high + 1, dtype=torch.uint8).repeat(repeats, 1)


@pytest.mark.parametrize("domain_to", DOMAINS)
@pytest.mark.parametrize("domain_from", DOMAINS)
def test_valid_conversions_are_made_and_others_refused(domain_from, domain_to, fails):
    x, value_range = SAMPLES[domain_from]
    if domain_from in POSSIBLE[domain_to]:
        check(domain_from, value_range, domain_to)
        y = convert(x, domain_from, value_range, domain_to)
        assert y.dtype == torch.float32
        assert y.shape == x.shape
        if domain_to == "binary":
            assert set(y.tolist()) <= {0.0, 1.0}
        if domain_to == "unit interval":
            assert y.min() >= 0
            assert y.max() <= 1
        if domain_to == "open unit interval":
            assert y.min() > 0
            assert y.max() < 1
        if domain_to == "positive reals":
            assert y.min() > 0
    else:
        for call in (
            lambda: check(domain_from, value_range, domain_to),
            lambda: convert(x, domain_from, value_range, domain_to),
        ):
            with fails(ValueError, "The data", "but the likelihood needs", " or choose a"):
                call()


@pytest.mark.parametrize(
    ("domain_from", "domain_to"),
    [
        (source, target)
        for target, sources in POSSIBLE.items()
        for source in sorted(sources)
        if target == source or (source != "bytes" and (target != "binary" or source == "binary"))
    ],
)
def test_other_conversions_keep_the_values(domain_from, domain_to):
    x, value_range = SAMPLES[domain_from]
    assert torch.equal(convert(x, domain_from, value_range, domain_to), x.float())


def test_bytes_are_scaled_by_their_highest_level():
    x = levels(16, 1)
    assert torch.equal(convert(x, "bytes", (0, 16), "unit interval"), x / 16)


@pytest.mark.parametrize("high", [1, 16, 100, 128, 254, 255])
def test_dynamic_binarization_of_bytes_has_the_exact_probabilities(high):
    torch.manual_seed(0)
    repeats = 20_000
    ones = convert(levels(high, repeats), "bytes", (0, high), "binary").sum(0)
    p = torch.arange(high + 1) / high
    assert ones[0] == 0
    assert ones[-1] == repeats
    deviation = (ones - repeats * p) / (repeats * p * (1 - p)).clamp(min=1).sqrt()
    assert deviation.abs().max() < 5
    # All levels together distinguish x / high from x / (high + 1).
    variance = (repeats * p * (1 - p)).sum()
    assert (ones.sum() - repeats * p.sum()).abs() < 5 * variance.sqrt() + 1


def test_dynamic_binarization_draws_elements_independently():
    torch.manual_seed(0)
    x = torch.full((20_000, 8), 128, dtype=torch.uint8)
    y = convert(x, "bytes", (0, 255), "binary")
    correlation = torch.corrcoef(y.T) - torch.eye(8)
    assert correlation.abs().max() < 5 / 20_000**0.5


def test_dynamic_binarization_of_the_unit_interval():
    torch.manual_seed(0)
    x = torch.tensor([0.0, 0.3, 1.0]).repeat(40_000, 1)
    mean = convert(x, "unit interval", (0, 1), "binary").mean(0)
    assert mean[0] == 0
    assert mean[2] == 1
    assert abs(mean[1] - 0.3) < 5 * (0.3 * 0.7 / 40_000) ** 0.5


@pytest.mark.parametrize("high", [16, 255])
def test_the_threshold_is_one_half(high):
    x = levels(high, 1)
    expected = (x.double() / high > 0.5).float()
    assert torch.equal(convert(x, "bytes", (0, high), "binary", "threshold"), expected)
    unit = torch.tensor([0.5, 0.51])
    assert convert(unit, "unit interval", (0, 1), "binary", "threshold").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("ends", "domain_to", "found"),
    [
        ((0.0, 1.0), "open unit interval", "exact zeros and ones"),
        ((0.0, 0.5), "open unit interval", "exact zeros but"),
        ((0.5, 1.0), "open unit interval", "exact ones but"),
        ((0.0, 1.0), "positive reals", "exact zeros but"),
    ],
)
def test_the_ends_of_the_unit_interval_are_refused_where_it_is_open(ends, domain_to, found, fails):
    x = torch.tensor([*ends, 0.25])
    domain, value_range = detect(x)
    with fails(ValueError, found, "store grey levels as uint8", "likelihood of values in [0, 1]"):
        convert(x, domain, value_range, domain_to)


def test_what_is_inside_the_unit_interval_is_taken_where_it_is_open():
    x = torch.tensor([1e-300, 1e-30, 0.25, 1 - 1e-15], dtype=torch.float64)
    domain, value_range = detect(x)
    y = convert(x, domain, value_range, "open unit interval")
    assert y.min() > 0
    assert y.max() < 1
    assert torch.equal(y[1:3], x[1:3].float())
    y = convert(
        torch.tensor([1e-300, 2.0], dtype=torch.float64),
        "positive reals",
        (1e-300, 2),
        "positive reals",
    )
    assert y.min() > 0


def test_counts_are_whole_numbers(fails):
    for x in (torch.tensor([0.0, 2.0]), torch.tensor([1.0, 2.5]), torch.tensor([-1, 2])):
        with fails(ValueError, "needs counts", "whole numbers from 0, of an integer dtype"):
            convert(x, *detect(x), "counts")


@pytest.mark.parametrize("domain_to", DEQUANTIZED)
@pytest.mark.parametrize("high", [16, 255])
def test_dequantized_bytes_stay_in_their_cells(high, domain_to):
    torch.manual_seed(0)
    x = levels(high, 4000)
    y = convert(x, "bytes", (0, high), domain_to)
    assert y.min() > 0
    assert y.max() < 1
    assert torch.equal((y * (high + 1)).floor(), x.float())
    u = y.double() * (high + 1) - x
    n = u.numel()
    assert abs(u.mean() - 1 / 2) < 5 * (1 / 12 / n) ** 0.5
    assert abs(u.var() - 1 / 12) < 5 * (1 / 180 / n) ** 0.5


def test_even_the_largest_noise_stays_in_its_cell(monkeypatch):
    monkeypatch.setattr(
        torch, "randint", lambda high, shape, dtype, **_: torch.full(shape, high - 1, dtype=dtype)
    )
    x = levels(255, 1)
    y = convert(x, "bytes", (0, 255), "reals")
    assert torch.equal((y * 256).floor(), x.float())


@pytest.mark.parametrize("domain_to", ["binary", "reals"])
def test_a_generator_leaves_the_global_one_alone(domain_to):
    x = levels(255, 10)
    before = torch.get_rng_state()
    first, again = (
        convert(x, "bytes", (0, 255), domain_to, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(convert(x, "bytes", (0, 255), domain_to), first)


@pytest.mark.parametrize("domain_to", ["binary", "unit interval", *DEQUANTIZED])
def test_other_devices_need_no_cpu(domain_to):
    x = torch.zeros(4, 1, 8, 8, dtype=torch.uint8, device="meta")
    y = convert(x, "bytes", (0, 255), domain_to)
    assert y.device.type == "meta"
    assert y.dtype == torch.float32
