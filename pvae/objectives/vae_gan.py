"""The VAE with a learned similarity metric, VAE-GAN."""

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.nn.functional import layer_norm, leaky_relu, softplus

from pvae.annotations import NetworkFactory, Shape
from pvae.checks import check_number, check_shape
from pvae.networks.conv import SMALLEST, Conv
from pvae.networks.mlp import MLP
from pvae.networks.shapes import make_network
from pvae.objectives.discriminating import Discriminating
from pvae.objectives.objective import kl, latents, weights, with_gradient_of
from pvae.objectives.reconstruction import bounds, data_site, decoded, has_counts


class VAEGAN(Discriminating):
    r"""The VAE with a learned similarity metric, VAE-GAN (Larsen et al. 2016): **no bound**.

    .. math::
        KL(q(z|x) \,\|\, p(z)) + \tfrac{1}{2} E\, \| D_l(x) - D_l(\tilde x) \|^2
        - E[\log D(\tilde x)] - E[\log D(x_p)]

    per datum, with the reconstruction :math:`\tilde x = E[x|z]` at z of q(z|x), and
    :math:`x_p = E[x|z_p]` at z of the prior. A discriminator D is trained with the VAE to
    distinguish data from both. Its layer :math:`D_l` is where data and reconstructions are
    compared, as under a normal distribution of scale 1 (eqs. 6 and 7, up to a constant), instead
    of by p(x|z). Its values have mean 0 and variance 1 over each datum, where the paper has batch
    normalization, or the discriminator could enlarge them without end. Each part has its own
    gradient (algorithm 1):

    ==============  ===============================================================================
    part            of
    ==============  ===============================================================================
    encoder, prior  beta times the KL, and the distance in :math:`D_l`
    decoder         gamma times that distance, and the last two terms (eq. 9; in the form that does
                    not saturate, Goodfellow et al. 2014)
    discriminator   :math:`-E[\log D(x) + \log(1 - D(\tilde x)) + \log(1 - D(x_p))]`
    ==============  ===============================================================================

    Samples are sharp, and log p(x) is not trained: a mean that is no smoothed average predicts each
    pixel worse, and nothing of the likelihood but its mean is trained, such as no learned scale.
    The loss changes with the discriminator, so that its values at two epochs cannot be compared:
    `pvae.fit` keeps the last epoch, unless another metric is monitored.

    The discriminator belongs to the objective. One step trains all. Under SVI its parameters are
    those of the parameter store named ``discriminator``; an optimizer that is given its parameters
    beforehand must have those of `parameters` as well. As for other GANs, Adam is steadier with
    ``betas=(0.5, 0.9)``.

    Args:
        event_shape: the event shape of the data.
        gamma: the weight of the distance for the decoder, at least 0: the lower, the more it is a
            GAN.
        beta: the weight of the KL, at least 0.
        features: the size of :math:`D_l`, or the shape of a map (C, H, W) for networks that make
            one.
        network: of :math:`D_l`, a factory from event_shape to the shape of the features; ``None``
            for `pvae.networks.Conv` for images, else `pvae.networks.MLP`.
        seed: of the discriminator's initial weights, as in `pvae.build`.

    Attributes:
        discriminator: maps data, bounded ones rescaled to [0, 1] and counts to log(1 + x), shape
            (n, \*event_shape), to :math:`D_l` and a logit, shape (n, 1).

    Raises:
        ValueError: if a size is below 1, a weight negative or not finite, or the network does not
            fit; and from a step, if the data have another shape, the mean of the likelihood no
            closed form, or draws no gradients.

    Example:
        >>> import pvae, pyro, torch
        >>> from pvae.objectives import VAEGAN
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> objective = VAEGAN(event_shape=(1, 8, 8))
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 2e-4}), objective)
        >>> loss = svi.step(torch.ones(5, 1, 8, 8))
    """

    is_bound = False
    is_comparable = False

    def __init__(
        self,
        event_shape: Shape,
        gamma: float = 1.0,
        beta: float = 1.0,
        features: int | Shape = 128,
        network: NetworkFactory | None = None,
        seed: int | None = 0,
    ) -> None:
        for name, value in {"gamma": gamma, "beta": beta}.items():
            if not 0 <= check_number(name, value) < float("inf"):
                raise ValueError(f"{name} is {value}: it must be finite and at least 0.")
        self.event_shape = check_shape("event_shape", event_shape)
        self.gamma = gamma
        self.beta = beta
        self.features = features
        self.network = network
        super().__init__(self._make, seed)

    def _make(self) -> "Discriminator":
        image = len(self.event_shape) == 3 and min(self.event_shape[1:]) >= SMALLEST
        default = partial(Conv if image else MLP, activation="leaky_relu")
        given = self.features if isinstance(self.features, Sequence) else (self.features,)
        features = check_shape("features", given)
        if math.prod(features) < 2:
            raise ValueError(f"features is {self.features}: it must be at least 2 numbers.")
        return Discriminator(self.event_shape, features, self.network or default)

    def _get_trace(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> tuple[Trace, Trace]:
        separate = _Separate()
        model_trace, guide_trace = super()._get_trace(separate(model), guide, args, kwargs)
        nodes: Any = model_trace.nodes
        for name, z in separate.values.items():
            nodes[name]["decoded"] = z
        # p(x|z) at latents of the prior.
        drawn = poutine.trace(_Separate()(model)).get_trace(*args, **kwargs)
        site = data_site(model_trace, "VAEGAN")
        site["fn_drawn"] = drawn.nodes[site["name"]]["fn"]
        return model_trace, guide_trace

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        sites = latents(model_trace, guide_trace)
        site = data_site(model_trace, "VAEGAN")
        x = self._seen(site["fn"], site["value"])
        made = [self._seen(p, decoded(p, "VAEGAN")) for p in (site["fn"], site["fn_drawn"])]
        n, seen = len(x), torch.cat([x, *made])
        self._register(seen)
        features, logits = self._fixed(seen)
        weight = weights(site)
        distance = weight @ (features[n : 2 * n] - features[:n]).square().flatten(1).sum(-1) / 2
        adversary = weight.repeat(2) @ softplus(-logits[n:]).squeeze(-1)
        divergence = self.beta * reduce(add, (kl(q, p).sum() for q, p in sites))
        loss = divergence + distance + adversary
        if not torch.is_grad_enabled():
            return loss
        decoder = self.gamma * distance + adversary
        encoder = divergence + _through_latents(divergence + distance, [p for _, p in sites])
        _, logits = self.discriminator(seen.detach())
        logits = logits.squeeze(-1)
        discriminator = weight @ softplus(-logits[:n]) + weight.repeat(2) @ softplus(logits[n:])
        return with_gradient_of(loss, encoder + decoder + discriminator)

    def _seen(self, p: TorchDistribution, x: Tensor) -> Tensor:
        r"""Data as the discriminator sees them, of order 1, shape (n, \*event_shape)."""
        shape = tuple(p.event_shape)
        if shape != self.event_shape:
            raise ValueError(
                f"event_shape is {self.event_shape}: the data of the VAE have {shape}, the "
                "objective must have the same."
            )
        if between := bounds(p):
            low, high = between
            x = (x - low) / (high - low)
        elif has_counts(p):
            x = x.log1p()
        return x.reshape(-1, *shape)


class Discriminator(nn.Module):
    """Features, and a logit computed from them.

    Args:
        event_shape: the event shape of the data.
        features: the shape of the features.
        network: a factory of the network from data to features.
    """

    def __init__(
        self, event_shape: Shape, features: Shape, network: Callable[..., nn.Module]
    ) -> None:
        super().__init__()
        self.network = make_network(network, event_shape, features)
        self.logit = MLP(features, (1,), (), activation="leaky_relu")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Map (n, \*event_shape) to the features and a logit, shape (n, 1)."""
        features = self.network(x)
        features = layer_norm(features, features.shape[1:])
        return features, self.logit(leaky_relu(features))


class _Separate(Messenger):
    """Give later sites a copy of every latent, whose gradient is separate.

    Attributes:
        values: the copies, by site.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Tensor] = {}

    def _pyro_post_sample(self, msg: Any) -> None:
        # The trace around this has the value already, which the KL scores.
        if not msg["is_observed"] and not site_is_subsample(msg):
            msg["value"] = msg["value"].detach()
            if torch.is_grad_enabled() and msg["value"].is_floating_point():
                msg["value"].requires_grad_()
            self.values[msg["name"]] = msg["value"]


def _through_latents(loss: Tensor, sites: list[dict]) -> Tensor:
    """A surrogate with the gradient of a loss through the copies of latents that were decoded."""
    copies = [site["decoded"] for site in sites]
    gradients = torch.autograd.grad(
        loss, copies, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return reduce(add, ((g * s["value"]).sum() for g, s in zip(gradients, sites, strict=True)))
