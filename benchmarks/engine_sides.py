"""What can run a case of four Series: the node's runners, as they serve, and PyTorch.

A case goes from volumes to probabilities and masks through ``engines.segmentation``, as in serving: only what
turns slices into logits differs from side to side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engines.alignment import Alignment
from engines.bundle import Bundle, load_bundle, shipped_bundles
from engines.errors import RunnerError
from engines.runners.base import Notice, Runner, RunnerKind, RunnerSettings, unheard
from engines.runners.choice import AUTO_ORDER, choose_runner
from engines.segmentation import ON_THE_CPU, Segmentor, segment_all, segment_one
from engines.segments import Segment, SeriesType
from engines.volume import Volume
from tests.support.head import AIR, axial_grid, grid_points, head, tissues

IN_PLACE = Alignment(SeriesType.T2_FLAIR, ())
"""The Series share the scanner's geometry: a registration is no part of a case."""

ONE_AT_A_TIME = f"node: {RunnerKind.OPENVINO.value}, one segmentor at a time"
"""Shows what it is worth that the node runs two at a time."""

NOTHING_RUN = "node: preparing and restoring alone"
"""A side whose networks cost nothing."""


class Recorder:
    """A runner that keeps the slices it was last given, and does not stand for another that took its place.

    Args:
        runner: what runs.
    """

    def __init__(self, runner: Runner) -> None:
        self.name, self._runner = runner.name, runner
        self._slices: NDArray[np.float32] | None = None

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns).

        Raises: RunnerError: if it did not go as the name says: in smaller batches, or on the CPU.
        """
        self._slices = slices
        return self._runner.run(slices, self._refuse)

    def run_again(self) -> None:
        """Run the slices of the last case once more, without preparing or restoring anything."""
        if self._slices is not None:
            self.run(self._slices)

    def _refuse(self, said: str) -> None:
        raise RunnerError(f"{self.name}: {said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Side:
    """What runs a case.

    Args:
        segmentors: what finds each segment, with open runners.
        as_served: True runs them as the node does, False one after the other.
    """

    def __init__(self, segmentors: Sequence[Segmentor], *, as_served: bool) -> None:
        self._as_served = as_served
        self._recorders = [Recorder(one.runner) for one in segmentors]
        self._segmentors: Mapping[Segment, Segmentor] = {
            one.manifest.segment: replace(one, runner=recorder)
            for one, recorder in zip(segmentors, self._recorders, strict=True)
        }
        on_gpu = all(one.on_gpu for one in segmentors)
        self._together = (len(segmentors) if on_gpu else ON_THE_CPU) if as_served else 1

    def run_case(self, volumes: Mapping[SeriesType, Volume]) -> None:
        """Find the lesions of a Study, from its volumes to masks."""
        if self._as_served:
            segment_all(self._segmentors, volumes, IN_PLACE, lambda _: None)
        else:
            for segmentor in self._segmentors.values():
                segment_one(segmentor, volumes, IN_PLACE)

    def run_networks(self) -> None:
        """Run the networks alone on the slices of the last case, as many at a time as in a case."""
        with ThreadPoolExecutor(self._together) as pool:
            for done in [pool.submit(recorder.run_again) for recorder in self._recorders]:
                done.result()


Opener = Callable[[ExitStack], Side]
"""Opens a side, which is closed with the stack."""


def make_case(slices: int) -> tuple[dict[SeriesType, Volume], float]:
    """Return a head with noise in each contrast, and the share of the volume that it fills.

    Slices of 256 x 256, 0.9 x 0.9 x 6 mm. What a side computes does not depend on that share: slices are
    computed with the air around the head.
    """
    grid = axial_grid((slices, 256, 256), (6.0, 0.9, 0.9))
    filled = float((tissues(grid_points(grid)) != AIR).mean())
    return {contrast: head(grid, contrast) for contrast in SeriesType}, filled


def bundles() -> list[Bundle]:
    """Load the shipped bundles."""
    return [load_bundle(path.parent) for path in sorted(shipped_bundles().glob("*/manifest.yaml"))]


def sides() -> dict[str, Opener]:
    """Name everything that can run a case, and what opens it."""
    node = {f"node: {kind.value}": node_side(kind, as_served=True) for kind in AUTO_ORDER}
    once = {ONE_AT_A_TIME: node_side(RunnerKind.OPENVINO, as_served=False), NOTHING_RUN: open_blank}
    return (
        node
        | once
        | {f"PyTorch {variant}": torch_side(variant) for variant in ("eager", "channels-last", "compile")}
    )


def node_side(kind: RunnerKind, *, as_served: bool) -> Opener:
    """Return what opens proven and warm runners of the node."""

    def open_side(opened: ExitStack) -> Side:
        segmentors = []
        for bundle in bundles():
            choice = choose_runner(bundle, kind)
            runner = opened.enter_context(choice.runner)
            segmentors.append(Segmentor(bundle, runner, choice.report))
        return Side(segmentors, as_served=as_served)

    return open_side


class FunctionRunner:
    """A function from slices to logits as the runner of a segmentor."""

    def __init__(self, name: str, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self.name, self._function = name, function

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns)."""
        return self._function(slices)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_blank(_: ExitStack) -> Side:
    """Open a side that finds nothing, at no cost."""

    def nothing(slices: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full((len(slices), 1, *slices.shape[2:]), -9.0, np.float32)

    runner = FunctionRunner("nothing", nothing)
    return Side([Segmentor(bundle, runner) for bundle in bundles()], as_served=False)


def torch_side(variant: str) -> Opener:
    """Open PyTorch as plain eager code, channels-last, or compiled and channels-last.

    Weights are at random, which does not change the time, so that segmentors of one architecture share a
    network and it is compiled once.
    """

    def open_side(_: ExitStack) -> Side:
        import torch  # only the sides of PyTorch pay its memory

        from training.networks import build
        from training.recipe import load_recipe

        torch.set_num_threads(RunnerSettings().thread_count)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        layout = torch.contiguous_format if variant == "eager" else torch.channels_last
        networks: dict[str, Any] = {}

        def runner(bundle: Bundle) -> FunctionRunner:
            settings = load_recipe("best").for_segment(bundle.manifest.segment).network
            key = f"{bundle.manifest.channels} {settings}"
            if key not in networks:
                network = build(settings, bundle.manifest.channels).eval()
                network = network.to(device, dtype, memory_format=layout)  # type: ignore[call-overload]
                networks[key] = torch.compile(network, dynamic=False) if variant == "compile" else network

            def run(slices: NDArray[np.float32]) -> NDArray[np.float32]:
                with torch.inference_mode():
                    given = torch.tensor(slices).to(device, dtype, memory_format=layout)
                    return np.asarray(networks[key](given).float().cpu().numpy())

            return FunctionRunner(f"PyTorch {variant}", run)

        return Side([Segmentor(bundle, runner(bundle)) for bundle in bundles()], as_served=False)

    return open_side
