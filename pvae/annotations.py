"""Annotations of parts and commands that the command line reads without importing torch.

Each stands in for a base class of torch or Pyro, which is imported only when an option is parsed,
so that help is printed at once; to a type checker it is that base class. A class is of a kind if it
derives from the base, wherever it is defined. `pvae.interfaces` defines what a part must do.
"""

import abc
import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

Shape = tuple[int, ...]


class Kind(abc.ABCMeta):
    """The metaclass of the stand-ins."""

    base: str
    package: str
    own: str | None = None  # a package of ours that adds to one of another library
    itself = False  # whether the base is a class to choose

    def __subclasscheck__(cls, other: type) -> bool:
        return other is cls or any(
            f"{c.__module__}.{c.__qualname__}" == cls.base for c in other.__mro__
        )

    def __subclasses__(cls) -> list[type]:
        """The classes that an option accepts by short name: those of the kind in its package."""
        if "torch" not in sys.modules:
            return []
        packages = [importlib.import_module(name) for name in (cls.package, cls.own) if name]
        offered = (
            getattr(p, name) for p in packages for name in dir(p) if not name.startswith("_")
        )
        kinds = [c for c in offered if isinstance(c, type) and issubclass(c, cls)]
        return [c for c in kinds if cls.itself or f"{c.__module__}.{c.__qualname__}" != cls.base]


class Named(metaclass=Kind):
    """Base class of the stand-ins; it is abstract, so that only real classes are offered."""

    @abc.abstractmethod
    def __init__(self) -> None: ...


if TYPE_CHECKING:
    from pyro.infer import ELBO as Objective
    from pyro.infer.autoguide import AutoGuide as WeightPosterior
    from torch.nn import Module as Classifier
    from torch.nn import Module as Likelihood
    from torch.nn import Module as Network
    from torch.nn import Module as Posterior
    from torch.nn import Module as Prior
    from torch.nn import Module as UncertainWeights
    from torch.nn import Module as WeightPrior
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler as Scheduler
else:

    class Prior(Named):
        """A module whose forward() returns p(z)."""

        base, package = "torch.nn.modules.module.Module", "pvae.priors"

    class Likelihood(Named):
        """A module whose forward(z) returns p(x|z)."""

        base, package = "torch.nn.modules.module.Module", "pvae.likelihoods"

    class Posterior(Named):
        """A module whose forward(x) returns q(z|x)."""

        base, package = "torch.nn.modules.module.Module", "pvae.posteriors"

    class Classifier(Named):
        """A module whose forward(x) returns q(y|x)."""

        base, package = "torch.nn.modules.module.Module", "pvae.classifiers"

    class Network(Named):
        """A module from one event shape to another."""

        base, package = "torch.nn.modules.module.Module", "pvae.networks"

    class Objective(Named):
        """A Pyro ELBO."""

        base, package = "pyro.infer.elbo.ELBO", "pvae.objectives"

    class Optimizer(Named):
        """A torch optimizer."""

        base, package = "torch.optim.optimizer.Optimizer", "torch.optim"
        own = "pvae.weights"

    class Scheduler(Named):
        """A learning-rate schedule of torch."""

        base, package = "torch.optim.lr_scheduler.LRScheduler", "torch.optim.lr_scheduler"

    class UncertainWeights(Named):
        """A distribution over the weights of a VAE."""

        base, package, itself = "pvae.weights.weights.Weights", "pvae.weights", True

    class WeightPrior(Named):
        """A prior over weights."""

        base, package = "pvae.weights.priors.WeightPrior", "pvae.weights"

    class WeightPosterior(Named):
        """One of Pyro's autoguides."""

        base, package = "pyro.infer.autoguide.guides.AutoGuide", "pyro.infer.autoguide"


KINDS: dict[str, type[Any]] = {
    "prior": Prior,
    "likelihood": Likelihood,
    "posterior": Posterior,
    "classifier": Classifier,
    "network": Network,
    "objective": Objective,
    "optimizer": Optimizer,
    "scheduler": Scheduler,
    "weights": UncertainWeights,
    "weights.prior": WeightPrior,
    "weights.posterior": WeightPosterior,
}
"""The kinds by the option of the command line that names one."""

NetworkFactory = Callable[[Shape, Shape], Network]
"""A factory of networks from an input shape and an output shape, such as a class."""

NetworkOrFactory = Network | NetworkFactory
"""A network, or a factory that makes one from the two shapes that a part needs."""
