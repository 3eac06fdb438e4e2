"""The memory in which batches go through a GPU: made once, used for every batch.

Two lanes take turns: while the GPU works on the batch of one, the CPU fills the pinned memory of the other.
All work of a segmentor goes through its one stream; the copies of one segmentor overlap with the computation
of the others, whose streams do not wait for it. Each lane's work is recorded as one CUDA graph.
"""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from engines.errors import DeviceError, DeviceMemoryError
from engines.gpu.cuda import FLOAT_BYTES, Cuda
from engines.gpu.execution import Context, Engine
from engines.runners.base import Notice, unheard

LANES = 2
"""Batches under way at a time: one on the GPU, one between it and the CPU."""


class Lane:
    """Memory and context of one batch.

    Args:
        cuda: the GPU.
        context: runs the plan.
        shape: (batch, channels, rows, columns).
        stream: of the segmentor.
        opened: closes what is made here.
    """

    def __init__(
        self, cuda: Cuda, context: Context, shape: tuple[int, int, int, int], stream: int, opened: ExitStack
    ) -> None:
        batch, _, rows, columns = shape
        self._cuda, self._context, self._stream = cuda, context, stream
        self._host_slices = cuda.allocate_pinned(shape)
        opened.callback(cuda.free_pinned, self._host_slices)
        self._host_logits = cuda.allocate_pinned((batch, 1, rows, columns))
        opened.callback(cuda.free_pinned, self._host_logits)
        self.slices = cuda.allocate(self._host_slices.nbytes)
        opened.callback(cuda.free, self.slices)
        self.logits = cuda.allocate(self._host_logits.nbytes)
        opened.callback(cuda.free, self.logits)
        self._done = cuda.create_event()
        opened.callback(cuda.destroy_event, self._done)
        self._graph: int | None = None
        self._target: NDArray[np.float32] | None = None
        self._host_slices[:] = 0

    def warm_up(self, opened: ExitStack) -> str:
        """Run once, so that everything lazy is done, and record the work where the GPU lets it be.

        Returns: why it cannot be recorded, so that each batch queues it anew, which is slower; or nothing.
        """
        self._queue()
        self._cuda.record(self._done, self._stream)
        self._cuda.wait(self._done)
        try:
            self._graph = self._cuda.capture(self._stream, self._queue)
        except DeviceMemoryError:
            raise
        except DeviceError as exc:
            return str(exc)
        opened.callback(self._cuda.destroy_graph, self._graph)
        return ""

    def start(self, slices: NDArray[np.float32], target: NDArray[np.float32]) -> None:
        """Queue a batch; it may be smaller than the lane, whose rest then computes what nobody reads.

        Args:
            slices: (n, channels, rows, columns), n at most the lane's batch.
            target: (n, 1, rows, columns), filled by ``finish``.
        """
        np.copyto(self._host_slices[: len(slices)], slices)
        if self._graph is None:
            self._queue()
        else:
            self._cuda.launch(self._graph, self._stream)
        self._cuda.record(self._done, self._stream)
        self._target = target

    def finish(self) -> None:
        """Wait for the batch that was started, if any, and hand its logits over."""
        if self._target is None:
            return
        target, self._target = self._target, None
        self._cuda.wait(self._done)
        np.copyto(target, self._host_logits[: len(target)])

    def _queue(self) -> None:
        self._cuda.copy_in(self.slices, self._host_slices, self._stream)
        self._context.enqueue(self._stream)
        self._cuda.copy_out(self._host_logits, self.logits, self._stream)


class Lanes:
    """Everything that a segmentor holds on a GPU, for batches of one size, until ``close``.

    Args:
        cuda: the GPU.
        engine: the opened plan.
        shape: (batch, channels, rows, columns).
        notice: told if the work cannot be recorded.

    Raises: DeviceMemoryError: if the GPU has no room; then nothing is kept.
    """

    def __init__(
        self, cuda: Cuda, engine: Engine, shape: tuple[int, int, int, int], notice: Notice = unheard
    ) -> None:
        with ExitStack() as opened:
            self.batch = shape[0]
            stream = cuda.create_stream()
            opened.callback(cuda.destroy_stream, stream)
            contexts = [engine.create_context() for _ in range(LANES)]
            # Runs in one stream follow each other, so they share their working memory.
            working_bytes = max(context.prepare(self.batch) for context in contexts)
            working = cuda.allocate(max(working_bytes, FLOAT_BYTES))
            opened.callback(cuda.free, working)
            self._lanes = [Lane(cuda, context, shape, stream, opened) for context in contexts]
            refusals = []
            for lane, context in zip(self._lanes, contexts, strict=True):
                context.bind(lane.slices, lane.logits, working, working_bytes)
                refusals.append(lane.warm_up(opened))
            if said := next(filter(None, refusals), ""):
                notice(f"the GPU records no graph of it, so that each batch is queued anew ({said})")
            self._opened = opened.pop_all()

    def run(self, slices: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns).

        Raises: DeviceError: if the GPU fails.
        """
        logits = np.empty((len(slices), 1, *slices.shape[2:]), np.float32)
        for number, start in enumerate(range(0, len(slices), self.batch)):
            lane = self._lanes[number % LANES]
            lane.finish()
            batch = slice(start, start + self.batch)
            lane.start(slices[batch], logits[batch])
        for lane in self._lanes:
            lane.finish()
        return logits

    def close(self) -> None:
        """Free everything."""
        self._opened.close()
