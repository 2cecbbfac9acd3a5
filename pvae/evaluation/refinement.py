"""The best that a posterior can do for given data, with its network out of the way."""

import copy
import math
from functools import reduce
from operator import add
from typing import Any, NamedTuple, TypeVar

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from pvae.checks import check_size, is_real
from pvae.evaluation.batching import MEMORY, as_batch, per_datum, portions
from pvae.interfaces import option
from pvae.seeds import seeded
from pvae.vae import VAE

Altered = TypeVar("Altered", bound=nn.Module)

HELD_OUT = 100  # draws by which the start and the end are compared


class Local(nn.Module):
    r"""A posterior whose network's output is free numbers, one set for each datum.

    Whatever else the posterior owns, such as the masked networks of a flow, is shared with it.

    Args:
        posterior: one that owns a ``network``; it is left as it is.
        raw: the numbers, as the network would return them, shape (n, \*raw_shape).

    Shape:
        x of (n, \*event_shape) to a distribution of batch shape (n,).
    """

    def __init__(self, posterior: nn.Module, raw: Tensor) -> None:
        super().__init__()
        self.posterior = _with(posterior, network=_Numbers(raw))

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        return self.posterior(x)


def refine(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    steps: int = 400,
    num_samples: int = 4,
    lr: float = 0.05,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> dist.TorchDistribution:
    r"""Refine the posterior of each datum, starting from the encoder's.

    The numbers :math:`\lambda` that the posterior's network returns for a datum are let free, and
    the ELBO of that datum is maximized over them,

    .. math::
        q^*(z|x) = q_{\lambda^*}(z), \qquad
        \lambda^* = \arg\max_\lambda E_{q_\lambda(z)}[\log p(x|z)] - KL(q_\lambda(z) \,\|\, p(z)),

    the stochastic variational inference of Hoffman et al. (2013), begun where amortization ends
    (Kim et al. 2018; Cremer, Li, Duvenaud 2018, section 5.1). What a posterior owns besides its
    network stays as it is. The steps are of Adam, with a rate that falls to 0 along a cosine. A
    datum whose ELBO is not higher for it, by 100 further draws common to both, keeps the encoder's
    posterior.

    Args:
        vae: the VAE, none of whose parameters or gradients is changed.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        steps: of the optimizer.
        num_samples: draws of z for each datum and step.
        lr: the first learning rate.
        memory: about how much to hold, in MiB.
        seed: of the draws.
        progress: whether to show a progress bar.

    Returns:
        q*(z|x), of batch shape (n,).

    Raises:
        ValueError: if x or y is not what the VAE takes, steps or num_samples is below 1, or the
            posterior has no network, does not depend on it, or has no reparameterized draws, as
            those of discrete latents.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> pvae.evaluation.refine(vae, torch.ones(5, 1, 8, 8), steps=10).mean.shape
        torch.Size([5, 2])
    """
    check_size("num_samples", num_samples)
    check_size("steps", steps)
    check_rate(lr)
    x = as_batch(vae, x)

    def estimate(x: Tensor, y: Tensor | None) -> _Raw:
        return _Raw(best_raw(vae, x, y, steps, num_samples, lr))

    rows = 2 * num_samples  # gradients take as much again
    found = per_datum(estimate, vae, x, y, rows=rows, memory=memory, seed=seed, progress=progress)
    with vae.evaluating():
        return refined(vae, found.raw).encode(x.to(vae.device, vae.dtype), y)


def check_rate(lr: object) -> None:
    """Raise if this is no learning rate.

    Raises:
        ValueError: if it is not a positive number.
    """
    if not is_real(lr) or not 0 < lr < math.inf:
        raise ValueError(f"lr is {lr!r}: give a positive number.")


def refined(vae: VAE, raw: Tensor) -> VAE:
    """The VAE with the local posterior of given data; all else is shared."""
    return _with(vae, posterior=Local(vae.posterior, raw))


def best_raw(
    vae: VAE, x: Tensor, y: Tensor | None, steps: int, num_samples: int, lr: float
) -> Tensor:
    """The numbers that the network should have returned for a chunk of data."""
    p = vae.p_z(y)
    start = _start(vae, x, y)
    raw = start.clone().requires_grad_()
    local = refined(vae, raw)
    optimizer = torch.optim.Adam([raw], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        with torch.enable_grad():
            loss = -_elbo(local, p, x, y, num_samples).sum()
            # The VAE's own parameters are no concern of this gradient.
            raw.grad, *_ = torch.autograd.grad(loss, raw)
        optimizer.step()
        schedule.step()
    end = raw.detach()
    seed = int(torch.randint(2**62, ()))
    scores = []
    for numbers in (start, end):
        local = refined(vae, numbers)
        with seeded(seed, vae.device):
            held_out = portions(HELD_OUT, num_samples)
            scores.append(reduce(add, (_elbo(local, p, x, y, n) * n for n in held_out)))
    better = scores[1] > scores[0]
    return torch.where(better.view(-1, *(1,) * (end.dim() - 1)), end, start)


class _Raw(NamedTuple):
    raw: Tensor


class _Numbers(nn.Module):
    """A network that returns the same whatever it is given."""

    def __init__(self, raw: Tensor) -> None:
        super().__init__()
        self.raw = raw

    def forward(self, context: Tensor) -> Tensor:
        return self.raw


class _Recorder(nn.Module):
    """A network that remembers what it returned."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.returned: Any = None

    def forward(self, context: Tensor) -> Tensor:
        self.returned = self.network(context)
        return self.returned


def _with(module: Altered, **children: nn.Module) -> Altered:
    """The module with other children; the parameters and all other children are shared."""
    twin = copy.copy(module)
    twin._modules = {**module._modules, **children}
    return twin


def _start(vae: VAE, x: Tensor, y: Tensor | None) -> Tensor:
    """What the network returns for the data, if a posterior can be refined from there."""
    posterior, name = vae.posterior, type(vae.posterior).__name__
    network = option(posterior, "network")
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"The posterior {name} has no network: refinement sets free what the module of that "
            "name returns."
        )
    recorder = _Recorder(network)
    q = _with(vae, posterior=_with(posterior, network=recorder)).encode(x, y)
    if not q.has_rsample:
        raise ValueError(
            f"The posterior {name} has no reparameterized draws (has_rsample is False), along "
            "which refinement takes its gradients: choose one of continuous latents."
        )
    if not isinstance(recorder.returned, Tensor) or len(recorder.returned) != len(x):
        raise ValueError(
            f"The network of the posterior {name} does not return numbers for each datum: there "
            "is nothing to refine."
        )
    return recorder.returned


def _elbo(vae: VAE, p: Distribution, x: Tensor, y: Tensor | None, num_samples: int) -> Tensor:
    """Estimate the ELBO of each datum, shape (n,), with gradients where they are on."""
    q = vae.encode(x, y)
    z = q.rsample((num_samples,))
    log_likelihood = vae.decode(z, y, like=x).log_prob(x)
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        kl = q.log_prob(z) - p.log_prob(z)
    return (log_likelihood - kl).mean(0)
