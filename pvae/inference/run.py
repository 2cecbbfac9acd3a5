"""Records of eager runs: parameters, modules, code, and the Python state that they read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyro import poutine
from torch import Tensor, nn

from pvae.inference.assertions import Checks
from pvae.inference.executed import Executed, recorded
from pvae.inference.guards import Watch
from pvae.inference.untraceable import Untraceable


class RunRecord:
    """The record of a run of the programs.

    Attributes:
        named: parameters by name.
        modules: the modules that were called.
        executed: the user's code.
        checks: the results of checks.
    """

    def __init__(self) -> None:
        self.named: dict[str, Tensor] = {}
        self.modules: list[nn.Module] = []
        self.executed = Executed()
        self.checks = Checks()


@contextmanager
def observed() -> Iterator[RunRecord]:
    """Record a run of the programs."""
    run = RunRecord()
    called: dict[int, nn.Module] = {}

    def note(module: nn.Module, _: object) -> None:
        called.setdefault(id(module), module)

    hook = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        with run.checks, recorded() as run.executed, poutine.trace(param_only=True) as params:
            yield run
    finally:
        hook.remove()
    run.modules = list(called.values())
    sites: Mapping[str, Any] = params.trace.nodes
    run.named = {name: site["value"].unconstrained() for name, site in sites.items()}


def watch_of(svi: Any, run: RunRecord, constants: list, ignored: list) -> Watch:
    """Make a snapshot of the Python state that the programs read in a run.

    Raises:
        Untraceable: if there is more than can be followed, or undone.
    """
    if any(map(_hooked, run.named.values())):
        raise Untraceable("a parameter has a hook on its gradient, which only eager steps call")
    modules = {f"module {i}": module for i, module in enumerate(run.modules)}
    hooks = {n: v for n, v in vars(nn.modules.module).items() if n.startswith("_global_")}
    return Watch(
        {
            "an argument": constants,
            "the model": svi.model,
            "the guide": svi.guide,
            "the model within": poutine.unwrap(svi.model),
            "the guide within": poutine.unwrap(svi.guide),
            "the loss": svi.objective,
            "the loss's gradients": svi.loss_and_grads,
            "the hooks of all modules": hooks,
            **modules,
        },
        run.executed,
        ignored,
    )


def _hooked(parameter: Tensor) -> bool:
    # A hook after accumulation is an attribute that older versions of torch lack.
    after = getattr(parameter, "_post_accumulate_grad_hooks", None)
    return bool(parameter._backward_hooks or after)
