import numpy as np
import pytest
import torch

from pvae.plots.arrays import as_events, as_numpy, as_points, as_posteriors, as_reals


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([1.0, 2.0], requires_grad=True),
        torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
        torch.tensor([1, 2]),
        np.array([1, 2], np.float16),
        [1, 2],
    ],
)
def test_reals_of_any_kind(values):
    result = as_reals("x", values)
    assert result.dtype == np.float64
    assert result.tolist() == [1.0, 2.0]


def test_the_array_given_is_not_changed():
    given = np.zeros(3)
    as_reals("x", given)[:] = 1
    assert (given == 0).all()


def test_empty():
    with pytest.raises(ValueError, match=r"x is empty \(shape \(0, 3\)\)"):
        as_numpy("x", torch.empty(0, 3))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_not_finite(bad):
    with pytest.raises(ValueError, match="x holds NaN or infinite"):
        as_reals("x", torch.tensor([1.0, bad]))


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([1j])])
def test_not_real(values):
    with pytest.raises(TypeError, match="x must hold real numbers"):
        as_reals("x", values)


def test_points():
    assert as_points("mean", torch.ones(3, 7)).shape == (3, 7)
    with pytest.raises(ValueError, match=r"mean must have shape \(n, latent_dim\)"):
        as_points("mean", torch.ones(3))


@pytest.mark.parametrize("event", [(1, 4, 5), (3, 4, 5), (4, 5), (6,)])
def test_events(event):
    assert as_events("x", torch.ones(2, 3, *event), ("rows", "steps")).shape == (2, 3, *event)


@pytest.mark.parametrize("event", [(), (2, 4, 5), (1, 1, 4, 5)])
def test_events_that_cannot_be_drawn(event):
    with pytest.raises(ValueError, match=r"x must have shape \(n, 1, H, W\)"):
        as_events("x", torch.ones(2, *event), ("n",))


def test_images_without_a_channel_are_no_sequences():
    with pytest.raises(ValueError, match=r"\(n, 1, H, W\).* but its shape is \(2, 8, 8\)"):
        as_events("x", np.ones((2, 8, 8)), ("n",))


def test_sequences_may_be_padded():
    x = torch.ones(2, 4, 3)
    x[1, 2:] = torch.nan
    assert np.array_equal(as_events("x", x, ("n",)), x.double().numpy(), equal_nan=True)
    for bad in (x.flip(1), x.index_fill(2, torch.tensor(0), torch.nan)):
        with pytest.raises(ValueError, match="x holds NaN"):
            as_events("x", bad, ("n",))


def test_posteriors():
    mean, scale = as_posteriors(torch.zeros(5, 2), torch.ones(5, 2))
    assert mean.shape == scale.shape == (5, 2)
    assert as_posteriors(torch.zeros(5, 2), None)[1] is None


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_posteriors_over_other_than_two_latents(latent_dim):
    with pytest.raises(ValueError, match=r"mean must hold two latents.*: use tsne"):
        as_posteriors(torch.zeros(5, latent_dim), None)


def test_scale():
    with pytest.raises(ValueError, match="scale must have the shape of mean"):
        as_posteriors(torch.zeros(5, 2), torch.ones(4, 2))
    with pytest.raises(ValueError, match="scale must be positive"):
        as_posteriors(torch.zeros(5, 2), torch.zeros(5, 2))
