import re
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pvae.networks import GRU, MLP, Conv, ResNet, make_network
from pvae.networks.activations import ACTIVATIONS

NETWORKS = [
    (partial(MLP, hidden=[7, 5]), (3, 8, 9), (4,)),
    (partial(MLP, hidden=[]), (5,), (2, 3)),
    (partial(MLP, hidden=[7], initialization="glorot"), (5,), (2, 3)),
    (partial(MLP, hidden=[7], dropout=0.5), (2,), (1, 8, 8)),
    (partial(Conv, channels=[3, 4], hidden=6), (3, 8, 9), (4,)),
    (partial(Conv, channels=[3, 4], hidden=6, dropout=0.5), (4,), (3, 9, 8)),
    (partial(Conv, channels=[3, 4, 5, 6], hidden=6), (4,), (1, 8, 8)),
    (partial(ResNet, channels=[4, 6], blocks=1), (3, 8, 9), (4,)),
    (partial(ResNet, channels=[4, 6], blocks=2, normalization="group"), (4,), (1, 9, 8)),
    (partial(ResNet, blocks=1), (2, 5, 4), (1, 17, 15)),
    (partial(ResNet, channels=[4, 6], blocks=1, levels=[3, (2, 4, 5)]), (3, 8, 9), (86,)),
    (partial(ResNet, channels=[4, 6], blocks=1, levels=[(2, 4, 5), (1, 8, 9)]), (112,), (1, 8, 9)),
    (partial(GRU, hidden=7), (6, 3), (4,)),
    (partial(GRU, hidden=7), (4,), (6, 3)),
    (partial(GRU, hidden=7, state_dim=2), (6, 3), (36,)),
    (partial(GRU, hidden=7, state_dim=2), (14,), (6, 3)),
]


@pytest.mark.parametrize(("make", "in_shape", "out_shape"), NETWORKS)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_batch_shape_gives_what_one_at_a_time_gives(make, in_shape, out_shape, batch, dtype):
    network = make(in_shape, out_shape).to(dtype).eval()
    x = torch.randn(*batch, *in_shape, dtype=dtype)
    y = network(x)
    assert y.shape == (*batch, *out_shape)
    assert y.dtype == dtype
    one = torch.stack([network(item) for item in x.reshape(-1, *in_shape)]) if y.numel() else y
    torch.testing.assert_close(y.reshape(-1, *out_shape), one.reshape(-1, *out_shape))


@pytest.mark.parametrize(("make", "in_shape", "out_shape"), NETWORKS)
def test_every_parameter_is_reached(make, in_shape, out_shape):
    network = make(in_shape, out_shape).eval()
    # A ReLU unit may be dead for one input, not for many.
    network(torch.randn(200, *in_shape)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 4), st.integers(1, 4))
def test_conv_meets_every_height_and_width(height, width, colours, stages):
    image, channels = (colours, height, width), [2] * stages
    encoder = Conv(image, (3,), channels=channels, hidden=4)
    decoder = Conv((3,), image, channels=channels, hidden=4)
    assert decoder(encoder(torch.zeros(2, *image))).shape == (2, *image)


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 3))
def test_resnet_meets_every_height_and_width(height, width, stages):
    image, channels = (1, height, width), [2] * stages
    encoder = ResNet(image, (3,), channels=channels, blocks=1)
    decoder = ResNet((3,), image, channels=channels, blocks=1)
    assert decoder(encoder(torch.zeros(2, *image))).shape == (2, *image)


@pytest.mark.parametrize("normalization", [None, "group"])
def test_many_residual_blocks_start_stable(normalization):
    """Activations and gradients of 30 blocks in a row are about as large as those of 2."""
    torch.manual_seed(0)
    x, found = torch.randn(8, 3, 16, 16), {}
    for blocks in (1, 15):
        network = ResNet(
            (3, 16, 16), (5,), channels=[16, 16], blocks=blocks, normalization=normalization
        )
        given, sizes = x.clone().requires_grad_(), []
        h = network.image(given)
        for body, move in zip(network.bodies, (*network.moves, nn.Identity()), strict=True):
            h = move(body(h))
            sizes.append(h.detach().std())
        network(given).square().sum().backward()
        slopes = [given.grad, *(next(body.parameters()).grad for body in network.bodies)]
        found[blocks] = torch.tensor([*sizes, *(slope.std() for slope in slopes)])
        weight = network.bodies[0][0].layers[-1].weight
        assert weight.std() < 1.1 / (3 * 8 * 2 * blocks) ** 0.5  # scaled by the number of blocks
    ratio = found[15] / found[1]
    ratio[3:] *= 15**0.5  # of the weights before those that are scaled down
    assert ((ratio > 0.5) & (ratio < 2)).all(), ratio


def test_levels_are_read_and_written_where_they_are():
    """Every map depends on its own place alone, but for the reach of the convolutions."""
    levels = [3, (2, 8, 8), (1, 16, 16)]
    make = partial(ResNet, channels=[4, 4], blocks=1, levels=levels)
    x = torch.randn(1, 1, 16, 16)
    changed = x.clone()
    changed[..., 0, 0] += 1
    encoder = make((1, 16, 16), (2 * 387,))
    first, second = (encoder(changed) - encoder(x)).view(2, 387)
    for numbers in (first, second):
        assert (numbers[131:].view(16, 16)[8:] == 0).all()
        assert numbers[131:].view(16, 16)[0, 0] != 0
    decoder = make((387,), (1, 16, 16))
    z = torch.zeros(1, 387)
    z[0, 131] = 1  # the corner of the finest
    moved = (decoder(z) - decoder(torch.zeros(1, 387)))[0, 0]
    assert moved[0, 0] != 0
    assert (moved[8:] == 0).all()


@pytest.mark.parametrize("state_dim", [None, 2])
def test_gru_does_not_read_padding(state_dim):
    network = GRU((9, 3), (36,), hidden=7, state_dim=state_dim).double()
    x = torch.randn(4, 9, 3, dtype=torch.float64, requires_grad=True)
    padded = torch.where(torch.arange(9).unsqueeze(-1) < 5, x, torch.nan)
    found = network(padded)
    assert found.isfinite().all()
    grad = torch.autograd.grad(found.sum(), x)[0]
    assert grad.isfinite().all()
    assert (grad[:, 5:] == 0).all()
    short = GRU((5, 3), (20 if state_dim else 36,), hidden=7, state_dim=state_dim).double()
    short.load_state_dict(network.state_dict())
    if state_dim:  # the numbers of the states that are there
        found = found.view(4, 2, 9, 2)[:, :, :5].flatten(1)
    torch.testing.assert_close(found, short(x[:, :5]))


def test_gru_reads_what_is_ahead_and_decodes_state_by_state():
    x = torch.randn(1, 6, 3)
    changed = x.clone()
    changed[:, 2] += 1
    encoder = GRU((6, 3), (12,), hidden=7, state_dim=2)
    moved = (encoder(changed) - encoder(x)).view(6, 2).abs().sum(-1)
    assert (moved > 0).tolist() == [True] * 3 + [False] * 3
    decoder = GRU((14,), (6, 3), hidden=7, state_dim=2)  # and two labels
    z = torch.randn(1, 14)
    for i, steps in ((4, [2]), (13, [*range(6)])):
        other = z.clone()
        other[:, i] += 1
        moved = (decoder(other) - decoder(z))[0].abs().sum(-1)
        assert moved.nonzero().flatten().tolist() == steps


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("network", [MLP, Conv, partial(ResNet, blocks=1)])
def test_activation_by_name(network, name):
    layers = network((1, 8, 8), (2,), activation=name).modules()
    assert any(type(m) is ACTIVATIONS[name] for m in layers)


def test_glorot_initialization():
    torch.manual_seed(0)
    network = MLP((30,), (2, 25), hidden=[70], initialization="glorot")
    for layer, (fan_in, fan_out) in zip(
        [m for m in network.modules() if isinstance(m, nn.Linear)],
        [(30, 70), (70, 50)],
        strict=True,
    ):
        bound = (6 / (fan_in + fan_out)) ** 0.5
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert not layer.bias.any()


def test_dropout_only_in_training():
    network = MLP((3,), (2,), hidden=[50], dropout=0.5)
    x = torch.ones(1, 3)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MLP((0,), (2,)), "in_shape is (0,): it must be whole numbers, each at least 1."),
        (lambda: MLP((3,), ()), "out_shape is ()"),
        (lambda: MLP((3,), (2,), hidden=[-4]), "hidden is (-4,)"),
        (lambda: MLP((3,), (2,), hidden=[2.5]), "hidden is (2.5,)"),
        (lambda: MLP((3,), (2,), activation="rleu"), "No activation is named 'rleu': choose relu"),
        (lambda: MLP((3,), (2,), dropout=1.0), "dropout is 1.0"),
        (
            lambda: MLP((3,), (2,), initialization="xavier"),
            "initialization is 'xavier': it must be one of 'torch', 'glorot'.",
        ),
        (lambda: Conv((1, 7, 8), (2,)), "at least 8 × 8 pixels, but was given 7 × 8: use MLP"),
        (lambda: Conv((64,), (2,)), "Conv joins an image (C, H, W) and a code (D,)"),
        (lambda: Conv((1, 8, 8), (1, 8, 8)), "Conv joins an image (C, H, W) and a code (D,)"),
        (lambda: Conv((1, 8, 8), (2,), channels=[]), "channels is ()"),
        (lambda: Conv((1, 8, 8), (2,), hidden=0), "hidden is 0: it must be a whole number"),
        (
            lambda: GRU((1, 8, 8), (2,)),
            "joins a sequence (T, D) and a code (d,), but was given (1,",
        ),
        (lambda: GRU((8,), (2,)), "GRU joins a sequence (T, D) and a code"),
        (lambda: GRU((0, 3), (2,)), "in_shape is (0, 3)"),
        (lambda: GRU((6, 3), (2,), hidden=0), "hidden is 0"),
        (lambda: GRU((6, 3), (26,), state_dim=2), "have 12 latents, and the code has 26 numbers"),
        (lambda: GRU((11,), (6, 3), state_dim=2), "have 12 latents, and the code has 11 numbers"),
        (lambda: GRU((12,), (6, 3), state_dim=0), "state_dim is 0"),
        (lambda: ResNet((64,), (2,)), "ResNet joins an image (C, H, W) and a code"),
        (lambda: ResNet((1, 7, 8), (2,)), "at least 8 × 8 pixels, but was given 7 × 8: use MLP"),
        (lambda: ResNet((1, 8, 8), (2,), blocks=0), "blocks is 0: it must be a whole number"),
        (lambda: ResNet((1, 8, 8), (2,), normalization="batch"), "it must be 'group' or None"),
        (
            lambda: ResNet((2, 5, 5), (1, 28, 28)),
            "A map of 5 × 5 fits no stage of the network, whose sides are 28 × 28, 14 × 14, 7 × 7",
        ),
        (
            lambda: ResNet((1, 28, 28), (2, 14, 14), channels=[4, 4, 4]),
            "No part of the code is at the last stage",
        ),
        (lambda: ResNet((1, 8, 8), (9,), levels=[2, 3]), "levels [2, 3] have 5 latents"),
        (lambda: ResNet((10,), (1, 8, 8), levels=[2, 3]), "levels [2, 3] have 5 latents"),
        (lambda: ResNet((10,), (1, 8, 8), levels=[]), "levels is []: give sizes or shapes"),
        (lambda: ResNet((11,), (1, 8, 8), levels=[(2, 2, 2), 3]), "vectors (d,) come first"),
        (
            lambda: ResNet((17,), (1, 8, 8), levels=[(1, 4, 4), (1, 1, 1)]),
            "a map is at least as fine",
        ),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as raised:
        make()
    assert "\n" not in str(raised.value)


class Odd(nn.Module):
    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(in_shape[0])
        self.linear = nn.Linear(in_shape[0], out_shape[0])

    def forward(self, x):
        return self.linear(self.drop(self.norm(x)))


def test_connect_takes_a_module_a_class_and_a_function():
    for network in (nn.Linear(3, 4), Odd, lambda i, o: nn.Linear(i[0], o[0])):
        assert make_network(network, (3,), (4,))(torch.zeros(5, 3)).shape == (5, 4)


def test_connect_leaves_no_trace():
    network = Odd((3,), (4,))
    network.drop.eval()
    before, random = network.norm.running_mean.clone(), torch.get_rng_state()
    make_network(network, (3,), (4,))
    assert torch.equal(network.norm.running_mean, before)
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert not network.drop.training


@pytest.mark.parametrize(
    ("network", "error", "sentence"),
    [
        (nn.Linear(3, 5), ValueError, "zeros of shape (2, 3) it returned shape (2, 5)"),
        (nn.Linear(2, 4), ValueError, "fails on zeros of shape (2, 3)"),
        (nn.LSTM(3, 4), ValueError, "returned tuple"),
        (lambda i, o: 7, TypeError, "of type int: it must be a torch.nn.Module"),
    ],
)
def test_connect_names_both_shapes(network, error, sentence):
    with pytest.raises(error) as raised:
        make_network(network, (3,), (4,))
    assert sentence in str(raised.value)
