"""Deep ensembles: several VAEs as the draws of the weights of one."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from pyro.infer.autoguide import AutoDelta

from pvae.messages import kind_of
from pvae.module import Module
from pvae.weights.weights import Weights


def ensemble(vaes: Sequence[Any]) -> Any:
    r"""Return a VAE whose draws of all weights are those of several, a deep ensemble.

    .. math::
        p(x) = \frac{1}{S} \sum_{s=1}^S p(x|w_s)

    for S VAEs of one kind, trained from different seeds (Lakshminarayanan, Pritzel, Blundell
    2017). It has the same estimators as a VAE with a posterior over its weights; its own parameters
    are those of the first member.

    Args:
        vaes: the members, of equal parts, such as the runs of a study loaded by `pvae.load`.

    Raises:
        TypeError: if a member is no VAE.
        ValueError: if there are fewer than two, or their parts differ in shape or in buffers.

    Example:
        >>> import pvae
        >>> from pvae.weights import ensemble
        >>> vaes = [pvae.build((1, 8, 8), latent_dim=2, seed=seed) for seed in range(3)]
        >>> ensemble(vaes).sample(4).shape
        torch.Size([4, 1, 8, 8])
    """
    vaes = list(vaes)
    if len(vaes) < 2:
        raise ValueError(f"An ensemble of {len(vaes)}: give at least two VAEs.")
    for vae in vaes:
        if not isinstance(vae, Module):
            raise TypeError(f"A member of the ensemble is {kind_of(vae)}: expected a VAE.")
        if vae.weights is not None:
            raise ValueError(
                "A member of the ensemble has uncertain weights itself: give VAEs with fixed ones."
            )
    first, *others = vaes
    for vae in others:
        _check_alike(first, vae)
    made = copy.deepcopy(first).eval()
    # All of a member, with its classifier and p(y) if it has them.
    parts = list(dict.fromkeys(name.split(".")[0] for name, _ in made.named_parameters()))
    factory = partial(Weights, parts=parts, posterior=AutoDelta, draws=len(vaes))
    made.weights = factory(made).to(first.device)
    for vae in vaes:
        made.weights.collect({n: vae.get_parameter(n).to(first.like) for n in made.weights.names})
    if made.arguments:
        made.arguments = {**made.arguments, "weights": factory}
    return made


def _check_alike(first: Module, other: Module) -> None:
    """Raise unless the weights of one VAE fit into another."""
    shapes = [{n: p.shape for n, p in vae.named_parameters()} for vae in (first, other)]
    buffers = [dict(vae.named_buffers()) for vae in (first, other)]
    alike = shapes[0] == shapes[1] and buffers[0].keys() == buffers[1].keys()
    if not alike or not all(torch.equal(b, buffers[1][n].to(b)) for n, b in buffers[0].items()):
        raise ValueError(
            "The members of the ensemble differ in their parts, or in buffers such as those of a "
            "batch normalization: build them with equal arguments, and other seeds."
        )
