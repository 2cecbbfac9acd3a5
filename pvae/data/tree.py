"""Data that hang on a tree: noisy observations of a branching diffusion."""

from typing import NamedTuple

import torch
from torch import Tensor

from pvae.checks import check_number, check_size
from pvae.seeds import seeded

DEPTH, DIM, COPIES, NOISE = 5, 50, 20, 0.5


class Tree(NamedTuple):
    """Observations of the nodes of a tree.

    Attributes:
        x: real vectors, shape (n, dim).
        nodes: the node that each is an observation of, numbered level by level from the root 0, the
            children of node i being 2 i + 1 and 2 i + 2; ``int64`` of shape (n,).
        distances: the number of edges between every two nodes, ``int64`` of shape (nodes, nodes).
    """

    x: Tensor
    nodes: Tensor
    distances: Tensor


def tree(
    depth: int = DEPTH,
    dim: int = DIM,
    copies: int = COPIES,
    noise: float = NOISE,
    seed: int = 0,
) -> Tree:
    r"""Draw a branching diffusion (Mathieu et al. 2019, section 4) on the complete binary tree.

    .. math::
        y_0 = 0, \quad y_i \sim N(y_{\mathrm{parent}(i)}, I), \quad x \sim N(y_i, s^2 I)

    with the observations x of all nodes scaled together to unit variance. In many dimensions the
    squared distance of two nodes is proportional to the number of edges between them.

    ``pvae.data.load("tree")`` has these data with the level of the node as the label.

    Args:
        depth: edges from the root to a leaf; there are 2^(depth + 1) - 1 nodes.
        dim: the length of a vector.
        copies: observations of each node.
        noise: s, at least 0.
        seed: of the draws; torch's random state is then restored.

    Raises:
        ValueError: if a size is below 1, or the noise negative.

    Example:
        >>> from pvae.data import tree
        >>> x, nodes, distances = tree(depth=2, copies=10)
        >>> x.shape, int(distances.max())
        (torch.Size([70, 50]), 4)
    """
    for name, size in (("depth", depth), ("dim", dim), ("copies", copies)):
        check_size(name, size)
    if not 0 <= check_number("noise", noise) < float("inf"):
        raise ValueError(f"noise is {noise}: a standard deviation is finite and at least 0.")
    count = 2 ** (depth + 1) - 1
    parents = (torch.arange(count) - 1) // 2
    # Whether a node is on the way from the root to another.
    above = torch.eye(count, dtype=torch.int64)
    for i in range(1, count):
        above[i] += above[parents[i]]
    levels = above.sum(-1)
    distances = levels + levels.unsqueeze(-1) - 2 * above @ above.T
    with seeded(seed, torch.device("cpu")):
        steps = torch.randn(count, dim)
        steps[0] = 0
        y = above.float() @ steps
        nodes = torch.arange(count).repeat(copies)
        x = y[nodes] + noise * torch.randn(len(nodes), dim)
    return Tree(x / x.std(), nodes, distances)


def levels_of(nodes: Tensor) -> Tensor:
    """The number of edges between the root and nodes."""
    return (nodes + 1).log2().floor().long()
