"""The distributions of a VAE whose labels are unknown: sums over all classes, which are exact."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

IMPOSSIBLE = -1e4  # a log-probability whose exponential is 0, and times 0 is 0


def observe(vae: Any, x: Tensor, y: Tensor | None) -> Tensor | None:
    """The model's sample sites of labels: ``y_observed`` where known, else ``y_unobserved``.

    This is ``pyro.sample("y", p, obs=y, obs_mask=y >= 0)`` without its third site, a point mass
    whose log-probability at whole numbers is of torch's default dtype. A VAE without a classifier
    has no such site, and its labels are returned as they are.

    Args:
        vae: the VAE.
        x: a batch of n data.
        y: labels, shape (n,), -1 where they are unknown; ``None`` if all are.
    """
    if vae.classifier is None:
        return y
    y, p = _given(x, y), vae.labels.prior()
    known: Any = y >= 0  # to a type checker a mask is of a type that torch no longer has
    with pyro.poutine.mask(mask=known):
        pyro.sample("y_observed", p, obs=y.clamp(min=0))
    with pyro.poutine.mask(mask=~known):
        drawn = pyro.sample("y_unobserved", p)
    return torch.where(known, y, drawn)


def sample(vae: Any, x: Tensor, y: Tensor | None) -> Tensor | None:
    """The guide's sample site ``y_unobserved``: from q(y|x), or a point mass at a known label.

    It is marked for enumeration, and holds q(y|x) and which labels are unknown for
    `pvae.objectives.SemiSupervised`. Arguments are those of `observe`.
    """
    if vae.classifier is None:
        return y
    y, q = _given(x, y), vae.classifier(vae.features(x))
    classes = torch.arange(q.logits.shape[-1], device=y.device)
    known = torch.where(y.unsqueeze(-1) == classes, 0.0, IMPOSSIBLE).to(q.logits)
    unknown = y < 0
    p = dist.Categorical(logits=torch.where(unknown.unsqueeze(-1), q.logits, known))
    infer: Any = {"enumerate": "parallel", "classifier": q, "unknown": unknown}
    return pyro.sample("y_unobserved", p, infer=infer)


def each(vae: Any, y: object, n: int) -> object:
    """Return labels of n samples: those given, or draws from p(y) if a VAE may do without them."""
    if vae.labels is None:
        return y
    drawn = y is None and vae.classifier is not None
    return vae.labels.prior().sample((n,)) if drawn else vae.labels.each(y, n)


def likeliest(vae: Any, x: Tensor, y: object) -> object:
    """Return y, or if it is ``None`` the most probable labels by a classifier, if there is one."""
    return y if y is not None or vae.classifier is None else vae.classify(x).probs.argmax(-1)


def prior(vae: Any) -> dist.TorchDistribution:
    r"""Return :math:`p(z) = \sum_y p(y) p(z|y)`."""
    return _mixture(vae.labels.prior().logits, vae.prior_given(vae.labels.every()))


def likelihood(vae: Any, z: Tensor, like: Tensor | None = None) -> dist.TorchDistribution:
    r"""Return :math:`p(x|z) = \sum_y p(y|z) p(x|z, y)`, arguments as for `VAE.likelihood_given`."""
    z = z.unsqueeze(-1 - len(vae.latent_shape))
    like = None if like is None else like.unsqueeze(-1 - len(vae.event_shape))
    every, logits = vae.labels.every(), vae.labels.prior().logits
    if "prior" in vae.conditional:
        logits = logits + vae.prior_given(every).log_prob(z)
    return _mixture(logits, vae.likelihood_given(z, every, like))


def posterior(vae: Any, x: Tensor) -> dist.TorchDistribution:
    r"""Return :math:`q(z|x) = \sum_y q(y|x) q(z|x, y)`, x as for `VAE.posterior_given`."""
    logits = vae.classifier(vae.features(x)).logits
    x = x.unsqueeze(-1 - len(vae.event_shape))
    return _mixture(logits, vae.posterior_given(x, vae.labels.every()))


def _mixture(logits: Tensor, components: dist.TorchDistribution) -> dist.TorchDistribution:
    r"""The mixture of components of batch shape (\*batch, classes)."""
    batch = torch.broadcast_shapes(logits.shape, components.batch_shape)
    components = components if components.batch_shape == batch else components.expand(batch)
    return dist.MixtureSameFamily(dist.Categorical(logits=logits.expand(batch)), components)


def _given(x: Tensor, y: Tensor | None) -> Tensor:
    return (
        torch.full(x.shape[:1], -1, device=x.device)
        if y is None
        else torch.as_tensor(y, device=x.device)
    )
