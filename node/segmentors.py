"""Opens the configured model bundles and their runners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from engines.build import Progress, silent
from engines.bundle import Bundle, load_bundle
from engines.engine_report import EngineReport
from engines.runners.choice import Machine, choose_runner
from engines.segmentation import Segmentor
from engines.segments import Segment
from node.errors import WrongBundleError
from node.settings import NodeSettings

log = structlog.get_logger(__name__)


@contextmanager
def open_segmentors(
    settings: NodeSettings, progress: Progress = silent
) -> Iterator[Mapping[Segment, Segmentor]]:
    """Open one segmentor for each configured bundle and close them all on leaving.

    When it returns, every engine is built, proven and warm.

    Args:
        settings: of the node.
        progress: told how far the compilation of an engine is.

    Raises:
        BundleError: if a bundle contradicts itself; names the bundle and the field.
        WrongBundleError: if a bundle is configured for another segment than its own.
        RunnerError: if no runtime can open a model.
    """
    with ExitStack() as opened:
        segmentors: dict[Segment, Segmentor] = {}
        for segment, folder in settings.segmentors.items():
            bundle = load_configured(segment, folder)
            choice = choose_runner(bundle, settings.runner, machine(settings, progress))
            segmentors[segment] = Segmentor(bundle, opened.enter_context(choice.runner), choice.report)
            _log(choice.report, bundle.manifest.name)
        yield segmentors


def load_configured(segment: Segment, folder: Path) -> Bundle:
    """Read the bundle that is configured for a segment.

    Raises:
        BundleError: if it contradicts itself.
        WrongBundleError: if it is for another segment.
    """
    bundle = load_bundle(folder)
    if bundle.manifest.segment is not segment:
        raise WrongBundleError(segment, bundle.manifest.segment, str(folder))
    return bundle


def machine(settings: NodeSettings, progress: Progress = silent) -> Machine:
    """Return what the runners may use."""
    return Machine(settings.runner_limits, settings.engines, settings.engine_folder, progress)


def _log(report: EngineReport, model: str) -> None:
    """Log what serves a segment, and why nothing that comes before it does."""
    log.info(
        "segmentor.open",
        segment=report.segment.value,
        model=model,
        runner=report.name,
        precision=report.precision.value,
        proof=report.proof,
        passed_over=[str(one) for one in report.passed_over],
    )
