"""Data beside their reconstructions, for objectives that compare them otherwise than by p(x|z)."""

from collections.abc import Mapping
from typing import Any

from pyro.distributions import TorchDistribution
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import constraints


def observed(trace: Trace) -> list[Any]:
    """The observed sites."""
    nodes: Mapping[str, Any] = trace.nodes
    return [s for s in nodes.values() if s["type"] == "sample" and s["is_observed"]]


def data_site(trace: Trace, who: str) -> Any:
    """The site of the data, the only observed one with an event shape.

    Args:
        trace: of the model.
        who: the name of the objective, for the error message.

    Raises:
        ValueError: if there is none, or more than one.
    """
    sites = [site for site in observed(trace) if site["fn"].event_shape]
    if len(sites) != 1:
        raise ValueError(
            f"{who} compares the data with their reconstructions, at one observed site with an "
            f"event shape: the model has {len(sites)}."
        )
    return sites[0]


def decoded(p: TorchDistribution, who: str) -> Tensor:
    """E[x|z] of p(x|z), with its gradient.

    Raises:
        ValueError: if the mean has no closed form.
    """
    try:
        return p.mean
    except NotImplementedError:
        raise ValueError(
            f"The mean of p(x|z) has no closed form, which {who} needs: choose another likelihood."
        ) from None


def bounds(p: TorchDistribution) -> tuple[Any, Any] | None:
    """The lowest and highest value in the support of p; ``None`` if it has no such."""
    support: Any = p.support
    while hasattr(support, "base_constraint"):  # of several dimensions, or of a mixture
        support = support.base_constraint
    if support is constraints.boolean:
        return 0, 1
    found = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    return None if None in found else found


def has_counts(p: TorchDistribution) -> bool:
    """Whether p is over whole numbers without an upper bound."""
    support: Any = p.support
    return support.is_discrete and bounds(p) is None
