"""The kinds of thing that a configuration names, known without importing torch.

`pvae.cli` annotates its options with these, so that help is printed at once: each stands in for a
base class of torch or Pyro, which is met only when an option is really read. A class is of a kind
if it derives from the base, wherever it is defined.
"""

import abc
import importlib
import sys


class Kind(abc.ABCMeta):
    """The metaclass of the stand-ins."""

    base: str
    room: str

    def __subclasscheck__(cls, other: type) -> bool:
        return other is cls or any(
            f"{c.__module__}.{c.__qualname__}" == cls.base for c in other.__mro__
        )

    def __subclasses__(cls) -> list[type]:
        """What can be named in short: the classes of the kind that its room offers."""
        if "torch" not in sys.modules:
            return []
        room = importlib.import_module(cls.room)
        offered = (getattr(room, name) for name in dir(room) if not name.startswith("_"))
        kinds = [c for c in offered if isinstance(c, type) and issubclass(c, cls)]
        return [c for c in kinds if f"{c.__module__}.{c.__qualname__}" != cls.base]


class Named(metaclass=Kind):
    """What every stand-in is: never made, so that only its real kinds are offered."""

    @abc.abstractmethod
    def __init__(self) -> None: ...


class Prior(Named):
    """A module whose forward() returns p(z)."""

    base, room = "torch.nn.modules.module.Module", "pvae.priors"


class Likelihood(Named):
    """A module whose forward(z) returns p(x|z)."""

    base, room = "torch.nn.modules.module.Module", "pvae.likelihoods"


class Posterior(Named):
    """A module whose forward(x) returns q(z|x)."""

    base, room = "torch.nn.modules.module.Module", "pvae.posteriors"


class Network(Named):
    """A module from one event shape to another."""

    base, room = "torch.nn.modules.module.Module", "pvae.networks"


class Objective(Named):
    """A Pyro ELBO."""

    base, room = "pyro.infer.elbo.ELBO", "pvae.objectives"


class Optimizer(Named):
    """A torch optimizer."""

    base, room = "torch.optim.optimizer.Optimizer", "torch.optim"


class Scheduler(Named):
    """A learning-rate schedule of torch."""

    base, room = "torch.optim.lr_scheduler.LRScheduler", "torch.optim.lr_scheduler"
