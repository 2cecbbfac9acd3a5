"""Capture and replay of a training step as one CUDA graph."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pvae.inference.update import Update

WARM_UP = 3  # steps before the capture, in which optimizers and libraries allocate their state


class CapturedStep:
    """A function of CUDA tensors, replayed by one launch without synchronization.

    The first calls run the function eagerly, the next one captures it. Other tensors that it reads
    or writes must keep their memory. Random numbers come from torch's generator of the device,
    which a replay advances like a call.

    Args:
        function: maps tensors to tensors, without reading values on the host.
        inputs: tensors like its later inputs.
        update: the optimizer's update; the function is captured again if its tensors moved.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        inputs: Sequence[Tensor],
        update: Update,
    ) -> None:
        self.function = function
        self.update = update
        self.inputs = [torch.empty_like(x) for x in inputs]
        self.outputs: Sequence[Tensor] = ()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.moved = update.moved
        self.calls = 0
        self.capturable = True
        self.stream = torch.cuda.Stream(inputs[0].device if inputs else None)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run the function on inputs."""
        for own, x in zip(self.inputs, inputs, strict=True):
            own.copy_(x, non_blocking=True)
        if self.update.moved != self.moved:
            self.graph, self.calls, self.moved = None, 0, self.update.moved
        self.calls += 1
        if self.graph is None and self.calls > WARM_UP and self.capturable:
            self._capture()
        if self.graph is None:
            return self._run()
        self.update.refresh()
        self.graph.replay()
        return [value.clone() for value in self.outputs]  # the next replay overwrites the outputs

    def _run(self) -> list[Tensor]:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            outputs = [value.clone() for value in self.function(self.inputs)]
        torch.cuda.current_stream().wait_stream(self.stream)
        return outputs

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.outputs = self.function(self.inputs)
            self.graph = graph
        except RuntimeError as error:
            self.capturable = False
            said = " ".join(str(error).split())
            warnings.warn(
                f"The step cannot be captured as a CUDA graph ({said[:200]}); its operators are "
                "launched one by one, which is slower.",
                RuntimeWarning,
                stacklevel=5,
            )
