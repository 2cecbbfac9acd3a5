"""Backends that run a graph of torch operators: Inductor, or the plain graph."""

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, fx

from pvae.inference.substitution import has_long_forms, substitute

Backend = Literal["inductor", "graph"]

# Random numbers are drawn by torch's own operators and, since some versions reorder these, in the
# order of the graph.
_OPTIONS = {"fallback_random": True, "reorder_for_peak_memory": False}
if torch.__version__ < "2.7":
    # Before, its cache of graphs asks for a context that only torch.compile enters.
    _OPTIONS["fx_graph_cache"] = False

# The code that calls kernels and products is in C++, too: in Python it takes a twentieth of a step
# of a small network.
_ON_CPU = {"cpp_wrapper": True}

# Inductor repeats a value that is used twice in both places, up to this many operations. By default
# these are 30: a form such as that of lgamma then takes a minute to compile, instead of 2 s, and a
# regression with half-Cauchy scales three minutes instead of 20 s.
_LONG_FORMS = {"realize_opcount_threshold": 8}


# On a CPU Inductor takes about a tenth of a second for each operator. A loop of many steps, as that
# of a recurrent network, is a graph of thousands, most of them small: its time is better spent.
MOST_OPERATORS = 1000


def best_backend(device: torch.device) -> Backend:
    """Inductor if it has a compiler for the code that it generates, else the plain graph."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return "inductor" if has_triton() else "graph"
    compilers = os.environ.get("CXX"), "g++", "clang++", "cl"
    return "inductor" if any(c and shutil.which(c) for c in compilers) else "graph"


def is_compiled(module: fx.GraphModule, tensors: Sequence[Tensor], backend: Backend) -> bool:
    """Whether Inductor gets a graph of such inputs."""
    long = len(module.graph.nodes) > MOST_OPERATORS
    return backend == "inductor" and not (long and on_cpu(tensors))


def on_cpu(tensors: Sequence[Tensor]) -> bool:
    """Whether all inputs of a graph are on a CPU."""
    return all(tensor.device.type == "cpu" for tensor in tensors)


def compile_graph(
    module: fx.GraphModule,
    tensors: Sequence[Tensor],
    backend: Backend,
    options: Mapping[str, object] | None = None,
) -> Callable[..., Sequence[Tensor]]:
    """Compile a graph to a function of tensors like the given ones.

    Random numbers are drawn by torch's own operators in the graph's order, so that a seed gives the
    noise that it gives the eager program. Inductor gets functions such as ``lgamma``, in float32 on
    a CPU, as arithmetic that it vectorizes. On a CPU it gets no graph of more than 1,000 operators,
    which the plain graph runs.

    Args:
        module: the graph.
        tensors: its inputs.
        backend: the backend that runs it.
        options: further options of Inductor.
    """
    if not is_compiled(module, tensors, backend):
        return module.forward
    try:
        with torch.no_grad(), _quietly(), _cached():
            from torch import _inductor

            inputs: list[Any] = [tensor.detach() for tensor in tensors]
            chosen = _OPTIONS | (_ON_CPU if on_cpu(tensors) else {}) | dict(options or {})
            chosen |= _LONG_FORMS if has_long_forms(module) else {}
            return _inductor.compile(substitute(module), inputs, options=chosen)
    except Exception as error:
        said = " ".join(str(error).split())
        warnings.warn(
            f"Inductor cannot compile this program ({type(error).__name__}: {said[:200]}): its "
            "plain graph is run instead, which is slower.",
            RuntimeWarning,
            stacklevel=4,
        )
        return module.forward


@contextmanager
def _cached() -> Iterator[None]:
    """Let Inductor keep what it compiles on disk, for the next process and the same graph.

    For that it asks for the context in which torch.compile calls it.
    """
    from torch._guards import TracingContext, tracing
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    with tracing(TracingContext(FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True))):
        yield


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence messages of Inductor about torch that no user can act on.

    With a CUDA toolkit but no GPU, it says that it cannot build extensions for CUDA; it names
    each operator that its wrapper in C++ calls indirectly; and it calls functions that torch
    itself has deprecated.
    """
    quiet = ["torch._inductor.ir"]
    if not torch.cuda.is_available():
        quiet.append("torch.utils.cpp_extension")
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in quiet}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\._inductor")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
