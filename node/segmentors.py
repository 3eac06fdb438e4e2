"""Opens the configured model bundles and their runners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import structlog

from engines.bundle import load_bundle
from engines.pipeline import Segmentor
from engines.runners.choice import open_runner
from engines.segments import Segment
from node.errors import WrongBundleError
from node.settings import NodeSettings

log = structlog.get_logger(__name__)


@contextmanager
def open_segmentors(settings: NodeSettings) -> Iterator[Mapping[Segment, Segmentor]]:
    """Open one segmentor for each configured bundle and close them all on leaving.

    Raises:
        BundleError: if a bundle contradicts itself; names the bundle and the field.
        WrongBundleError: if a bundle is configured for another segment than its own.
        RunnerError: if no runtime can open a model.
    """
    with ExitStack() as opened:
        segmentors: dict[Segment, Segmentor] = {}
        for segment, folder in settings.segmentors.items():
            bundle = load_bundle(folder)
            if bundle.manifest.segment is not segment:
                raise WrongBundleError(segment, bundle.manifest.segment, str(folder))
            runner = opened.enter_context(open_runner(bundle, settings.runner, settings.runner_limits))
            segmentors[segment] = Segmentor(bundle, runner)
            log.info("segmentor.open", segment=segment.value, runner=runner.name, model=bundle.manifest.name)
        yield segmentors
