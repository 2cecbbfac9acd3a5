"""Refinement of posteriors: the best of a family for each datum, without amortization."""

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
from pvae.messages import shown
from pvae.seeds import seeded
from pvae.vae import VAE

Altered = TypeVar("Altered", bound=nn.Module)

HELD_OUT = 100  # draws for comparing the initial and the final ELBO


class Local(nn.Module):
    r"""A posterior with free parameters for each datum in place of the network's output.

    Its other modules, such as the masked networks of a flow, are shared with the posterior.

    Args:
        posterior: a posterior with a ``network``; it is not changed.
        raw: the parameters, in the form of the network's output, shape (n, \*raw_shape).

    Shape:
        x of (n, \*event_shape) to a distribution of batch shape (n,).
    """

    def __init__(self, posterior: nn.Module, raw: Tensor) -> None:
        super().__init__()
        self.posterior = _with(posterior, network=_Constant(raw))

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

    The ELBO of each datum is maximized over the parameters :math:`\lambda` that the posterior's
    network returns for it,

    .. math::
        q^*(z|x) = q_{\lambda^*}(z), \qquad
        \lambda^* = \arg\max_\lambda E_{q_\lambda(z)}[\log p(x|z)] - KL(q_\lambda(z) \,\|\, p(z)),

    the stochastic variational inference of Hoffman et al. (2013), initialized by amortization
    (Kim et al. 2018; Cremer, Li, Duvenaud 2018, section 5.1). Other parameters of the posterior are
    fixed. The optimizer is Adam, with a cosine schedule of the learning rate to 0. A datum whose
    ELBO is not higher afterwards, by 100 further draws common to both, keeps the encoder's
    posterior.

    Args:
        vae: the VAE; its parameters and gradients are not changed.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        steps: the number of optimizer steps.
        num_samples: draws of z for each datum and step.
        lr: the initial learning rate.
        memory: approximate limit of the memory used, in MiB.
        seed: of the draws.
        progress: whether to show a progress bar.

    Returns:
        q*(z|x), with batch shape (n,).

    Raises:
        ValueError: if x or y is invalid for the VAE, steps or num_samples is below 1, or the
            posterior has no network, does not depend on it, or has no reparameterized draws, such
            as one of discrete latents.

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

    rows = 2 * num_samples  # gradients double the memory
    found = per_datum(estimate, vae, x, y, rows=rows, memory=memory, seed=seed, progress=progress)
    with vae.evaluating():
        return refined(vae, found.raw).encode(x.to(vae.device, vae.dtype), y)


def check_rate(lr: object) -> None:
    """Raise if this is not a learning rate.

    Raises:
        ValueError: if it is not a positive number.
    """
    if not is_real(lr) or not 0 < lr < math.inf:
        raise ValueError(f"lr is {shown(lr)}: give a positive number.")


def refined(vae: VAE, raw: Tensor) -> VAE:
    """The VAE with the local posterior of given data; all other parts are shared."""
    return _with(vae, posterior=Local(vae.posterior, raw))


def best_raw(
    vae: VAE, x: Tensor, y: Tensor | None, steps: int, num_samples: int, lr: float
) -> Tensor:
    """The optimal parameters of the posterior for a chunk of data."""
    p = vae.p_z(y)
    start = _start(vae, x, y)
    raw = start.clone().requires_grad_()
    local = refined(vae, raw)
    optimizer = torch.optim.Adam([raw], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        with torch.enable_grad():
            loss = -_elbo(local, p, x, y, num_samples).sum()
            # Gradients of the VAE's own parameters are not needed.
            raw.grad, *_ = torch.autograd.grad(loss, raw)
        optimizer.step()
        schedule.step()
    end = raw.detach()
    seed = int(torch.randint(2**62, ()))
    scores = []
    for raw in (start, end):
        local = refined(vae, raw)
        with seeded(seed, vae.device):
            held_out = portions(HELD_OUT, num_samples)
            scores.append(reduce(add, (_elbo(local, p, x, y, n) * n for n in held_out)))
    better = scores[1] > scores[0]
    return torch.where(better.view(-1, *(1,) * (end.dim() - 1)), end, start)


class _Raw(NamedTuple):
    raw: Tensor


class _Constant(nn.Module):
    """A network that returns the same output for any input."""

    def __init__(self, raw: Tensor) -> None:
        super().__init__()
        self.raw = raw

    def forward(self, context: Tensor) -> Tensor:
        return self.raw


class _Recorder(nn.Module):
    """A network that records its output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.returned: Any = None

    def forward(self, context: Tensor) -> Tensor:
        self.returned = self.network(context)
        return self.returned


def _with(module: Altered, **children: nn.Module) -> Altered:
    """A copy of the module with other children; parameters and all other children are shared."""
    twin = copy.copy(module)
    twin._modules = {**module._modules, **children}
    return twin


def _start(vae: VAE, x: Tensor, y: Tensor | None) -> Tensor:
    """The output of the network for the data; raises if the posterior cannot be refined."""
    posterior, name = vae.posterior, type(vae.posterior).__name__
    network = option(posterior, "network")
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"The posterior {name} has no network: refinement optimizes the output of its module "
            "of that name."
        )
    if y is None and vae.classifier is not None and "posterior" in vae.conditional:
        raise ValueError(
            "Refinement needs the labels y of data: without them the posterior is a mixture over "
            "classes, such as vae.classify(x).probs.argmax(-1) chooses from."
        )
    recorder = _Recorder(network)
    q = _with(vae, posterior=_with(posterior, network=recorder)).encode(x, y)
    if not q.has_rsample:
        raise ValueError(
            f"The posterior {name} has no reparameterized draws (has_rsample is False), which "
            "refinement needs for gradients: choose one of continuous latents."
        )
    if not isinstance(recorder.returned, Tensor) or len(recorder.returned) != len(x):
        raise ValueError(
            f"The network of the posterior {name} does not return numbers for each datum: there "
            "is nothing to refine."
        )
    return recorder.returned


def _elbo(vae: VAE, p: Distribution, x: Tensor, y: Tensor | None, num_samples: int) -> Tensor:
    """Estimate the ELBO of each datum, shape (n,), with gradients if they are enabled."""
    q = vae.encode(x, y)
    z = q.rsample((num_samples,))
    log_likelihood = vae.decode(z, y, like=x).log_prob(x)
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        kl = q.log_prob(z) - p.log_prob(z)
    return (log_likelihood - kl).mean(0)
