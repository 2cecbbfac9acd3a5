"""What the page is told of a model: its latents, its labels, and what applies to it."""

from typing import Any

import torch
from torch import Tensor

from pvae.evaluation import impute
from pvae.explore.items import Items, all_names, score
from pvae.explore.spaces import Space
from pvae.messages import one_line
from pvae.vae import VAE

ACTIVE = 0.01  # the variance of the means above which a latent is active, as in `active_units`


def latents_of(items: Items, space: Space, prior: Tensor) -> list[dict[str, Any]]:
    """The latents, those whose means vary most first, with the range of each slider.

    Args:
        items: data.
        space: the space of its latents.
        prior: draws of the prior, shape (n, d).
    """
    variance = items.variance
    tails = torch.tensor([0.005, 0.995], dtype=prior.dtype)
    bounds = torch.stack([v.to(prior).quantile(tails, dim=0) for v in (prior, items.mean)])
    low, high = bounds[:, 0].amin(0), bounds[:, 1].amax(0)
    if space.kind in ("sphere", "ball"):
        low, high = (torch.full_like(low, end) for end in (-space.radius, space.radius))
    elif space.kind in ("binary", "one-hot"):
        low, high = torch.zeros_like(low), torch.ones_like(high)
    return [
        {
            "index": i,
            "name": f"z{i + 1}",
            "variance": max(0.0, variance[i].item()),
            "active": variance[i].item() > ACTIVE,
            "low": low[i].item(),
            "high": high[i].item(),
        }
        for i in variance.argsort(descending=True, stable=True).tolist()
    ]


def labels_of(vae: VAE, items: Items, start: Any) -> dict[str, Any] | None:
    """The names of classes, or the range of continuous labels, and that which is given at first.

    ``None`` for a VAE that is not conditional.
    """
    labels = vae.labels
    if labels is None:
        return None
    if labels.classes is not None:
        return {"names": all_names(labels.names or (), labels.classes), "start": start}
    # Where the data have no labels, those trained on are mostly within two standard deviations.
    usual = torch.stack([labels.loc - 2 * labels.scale, labels.loc + 2 * labels.scale])
    known = usual if items.y is None else items.y
    low, high = known.amin(0).tolist(), known.amax(0).tolist()
    return {"names": None, "start": start, "low": low, "high": high}


def refusals(vae: VAE, items: Items) -> dict[str, str]:
    """Which of log p(x) and imputation do not apply to a VAE, and why: both are tried."""
    x, y = items.x[:1], None if items.y is None else items.y[:1]
    mask = torch.ones(vae.event_shape, dtype=torch.bool)
    attempts = {
        "evidence": lambda: score(vae, x, y),
        "impute": lambda: impute(vae, x, mask, y, num_samples=2, progress=False),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except (ValueError, NotImplementedError) as error:
            found[name] = one_line(error)
    return found
