"""Training steps on indices of items, which convert the minibatch themselves."""

from collections.abc import Callable
from typing import Any

from pyro.infer import ELBO
from torch import Tensor

from pvae.data.batches import Batches


class Drawn(ELBO):
    """An objective on minibatches given by the indices of their items.

    So the lookup of the items, and their binarization or dequantization, is part of the step,
    which on CUDA is one graph.

    Args:
        objective: the objective on the items themselves.
        batches: the minibatches, in memory.
    """

    def __init__(self, objective: ELBO, batches: Batches) -> None:
        super().__init__()
        self.objective: Any = objective
        self.batches = batches

    def _get_trace(self, model: Callable, guide: Callable, args: tuple, kwargs: dict) -> tuple:
        return self.objective._get_trace(model, guide, self.batches.draw(*args), kwargs)

    def loss(self, model: Callable, guide: Callable, rows: Tensor) -> float:
        """Evaluate the objective on the items with indices ``rows``, shape ``(batch_size,)``."""
        return self.objective.loss(model, guide, *self.batches.draw(rows))

    def loss_and_grads(self, model: Callable, guide: Callable, rows: Tensor) -> float:
        """Evaluate the objective, and accumulate its gradients."""
        return self.objective.loss_and_grads(model, guide, *self.batches.draw(rows))
