"""The order of data in training if few of them have labels: a share in every minibatch has."""

import torch
from torch import Tensor

EVERY = 4  # of so many data one is labelled


def repeated_share(known: Tensor | None) -> float | None:
    """The share of data that have labels if `with_share` repeats these, else ``None``.

    Args:
        known: which of the data have labels, shape ``(n,)``; ``None`` if there is no classifier.
    """
    if known is None:
        return None
    total = int(known.sum())
    return total / len(known) if 0 < total * EVERY < len(known) else None


def with_share(order: Tensor, known: Tensor, seed: int) -> Tensor:
    """Return an order of the same length in which every fourth datum is labelled.

    In a random minibatch few data, or none, would have labels. So they are repeated, each about
    equally often, and as many of the others are left to the next epochs, whose orders differ. If
    labels are no fewer than that share, or there are none, the order is unchanged.

    Args:
        order: a random order of all n data, ``int64`` of shape ``(n,)``.
        known: which of the data have labels, shape ``(n,)``.
        seed: of the repetitions.

    Example:
        >>> import torch
        >>> from pvae.training.labelled import with_share
        >>> known = torch.arange(16) < 2
        >>> order = with_share(torch.arange(16), known, seed=0)
        >>> known[order].split(8)[0].sum(), len(order)
        (tensor(2), 16)
    """
    if repeated_share(known) is None:
        return order
    total = int(known.sum())
    first = torch.arange(len(order)) % EVERY == 0
    labelled, others = order[known[order]], order[~known[order]]
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-int(first.sum()) // total)
    repeated = torch.cat(
        [labelled[torch.randperm(total, generator=generator)] for _ in range(rounds)]
    )
    new = torch.empty_like(order)
    new[first] = repeated[: int(first.sum())]
    new[~first] = others[: int((~first).sum())]
    return new
