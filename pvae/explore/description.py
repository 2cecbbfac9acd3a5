"""What the page is told of a model: its latents, its labels, and what applies to it."""

from typing import Any

import torch
from torch import Tensor

from pvae.evaluation import impute
from pvae.explore.items import Items, all_names, score
from pvae.explore.spaces import Space
from pvae.vae import VAE

ACTIVE = 0.01  # the variance of the means above which a latent is active, as in `active_units`


def latents_of(vae: VAE, items: Items, space: Space, prior: Tensor) -> list[dict[str, Any]]:
    """The latents, those whose means vary most first, with the range of each slider.

    Args:
        vae: the VAE.
        items: data.
        space: the space of its latents.
        prior: draws of the prior, shape (n, d).
    """
    variance = items.variance(vae)
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


def labels_of(vae: VAE, start: Any) -> dict[str, Any] | None:
    """The names of the labels, ``None`` for continuous ones, and the first; ``None`` for none."""
    labels = vae.labels
    if labels is None:
        return None
    if labels.classes is None:
        return {"names": None, "start": start}
    return {"names": all_names(labels.names or (), labels.classes), "start": start}


def abilities(vae: VAE, items: Items) -> dict[str, bool]:
    """Whether log p(x) and imputation apply to a VAE, by trying them on one datum."""
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
            found[name] = True
        except ValueError:
            found[name] = False
    return found
