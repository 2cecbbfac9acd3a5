import pytest
import torch
from pyro.infer import Trace_ELBO

from pvae.objectives import Denoising


def seen(objective, x):
    """What model and guide are given, and the loss."""
    given = {}

    def program(name):
        def run(x, *rest):
            given[name] = x, *rest

        return run

    objective.loss(program("model"), program("guide"), x, "labels")
    return given


@pytest.mark.parametrize("kind", ["gaussian", "mask", "salt and pepper"])
def test_no_noise_is_the_elbo(vae, x, kind):
    found = []
    for objective in (Denoising(0.0, kind), Trace_ELBO()):
        vae.zero_grad()
        torch.manual_seed(1)
        found.append(objective.loss_and_grads(vae.model, vae.guide, x))
        found.append(torch.cat([p.grad.flatten() for p in vae.parameters()]))
    assert found[0] == found[2]
    torch.testing.assert_close(found[1], found[3], rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["gaussian", "mask", "salt and pepper"])
def test_only_the_guide_sees_noise(kind):
    x = 0.1 + 0.8 * torch.rand(20, 1, 30, 30)
    before = x.clone()
    given = seen(Denoising(0.3, kind), x)
    assert given["model"][0] is x
    assert (x == before).all()
    assert given["model"][1:] == given["guide"][1:] == ("labels",)
    corrupted = given["guide"][0]
    changed = corrupted != x
    error = 4 * (0.3 * 0.7 / x.numel()) ** 0.5
    if kind == "gaussian":
        assert (corrupted - x).mean().abs() < 4 * 0.3 / x.numel() ** 0.5
        assert ((corrupted - x).std() - 0.3).abs() < 0.01
    else:
        assert abs(changed.float().mean() - 0.3) < error + 1e-3
    if kind == "mask":
        assert (corrupted[changed] == 0).all()
    if kind == "salt and pepper":
        salt, pepper = corrupted[changed] == x.max(), corrupted[changed] == x.min()
        assert (salt | pepper).all()
        assert abs(salt.float().mean() - 0.5) < 0.05


def test_the_loss_by_hand(vae, x):
    torch.manual_seed(1)
    loss = Denoising(0.5).loss(vae.model, vae.guide, x)
    torch.manual_seed(1)
    with torch.no_grad():
        q = vae.posterior(x + 0.5 * torch.randn_like(x))
        z = q.sample()
        log_w = vae.decode(z).log_prob(x) + vae.prior().log_prob(z) - q.log_prob(z)
    assert loss == pytest.approx(-log_w.sum().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"noise": -0.1}, "noise is -0.1: .* standard deviation"),
        ({"noise": float("inf")}, "noise is inf"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"noise": 1.1, "kind": "mask"}, "noise is 1.1: .* probability"),
        ({"kind": "blur"}, "kind is 'blur'"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Denoising(**arguments)
