"""The node's service with models that take their time, as if they computed on another device.

    python -m tests.support.slow_node SLEEP_S VERSION serve --config node.yaml

VERSION is that of the workflows: another one makes it a node of another release.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engines.runners.base import Notice, Runner, unheard
from engines.segmentation import Segmentor
from engines.segments import Segment
from node.configuration import load_settings
from node.segmentors import open_segmentors
from node.service import Service
from node.settings import NodeSettings
from node.telemetry import configure_logging


class SleepingRunner:
    """Sleeps, and then runs the model."""

    def __init__(self, runner: Runner, sleep_s: float) -> None:
        self._runner, self._sleep_s = runner, sleep_s
        self.name = runner.name

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        time.sleep(self._sleep_s)
        return self._runner.run(slices, notice)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@contextmanager
def sleeping_segmentors(sleep_s: float, settings: NodeSettings) -> Iterator[Mapping[Segment, Segmentor]]:
    with open_segmentors(settings) as opened:
        yield {
            name: replace(segmentor, runner=SleepingRunner(segmentor.runner, sleep_s))
            for name, segmentor in opened.items()
        }


def main(sleep_s: float, version: str, configuration: Path) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = load_settings(configuration)
    configure_logging(settings.log)
    with Service(settings, stop, partial(sleeping_segmentors, sleep_s), version):
        stop.wait()


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], Path(sys.argv[-1]))
