"""What an evaluation rests on, as one digest: equal digests mean equal results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version

from engines.segmentation import Segmentor
from engines.segments import Segment
from node.settings import NodeSettings

SOFTWARE_VERSION = version("csvd-node")
"""Version of the installed distribution."""


def digest_of(inputs: str, segmentors: Mapping[Segment, Segmentor], settings: NodeSettings) -> str:
    """Digest inputs, models, software and the settings that change results, lower-case hexadecimal.

    Args:
        inputs: digest of the Instances.
        segmentors: the models and what runs them.
        settings: only those sections count that change results.
    """
    identity = {
        "inputs": inputs,
        "software": SOFTWARE_VERSION,
        "models": {
            segment.value: [segmentor.bundle.manifest.model_dump(mode="json"), segmentor.runner.name]
            for segment, segmentor in sorted(segmentors.items())
        },
        "identification": settings.identification.model_dump(mode="json"),
        "volumes": settings.volumes.model_dump(mode="json"),
        "pipeline": settings.pipeline.model_dump(mode="json"),
        "pictures": settings.pictures.model_dump(mode="json"),
    }
    # Sets in the rules have no order of their own; sorted lists make the digest the same in every process.
    return hashlib.sha256(json.dumps(_ordered(identity), sort_keys=True).encode()).hexdigest()


def _ordered(value: object) -> object:
    """Sort lists of words, whose order means nothing where sets were written as lists."""
    if isinstance(value, dict):
        return {key: _ordered(inner) for key, inner in value.items()}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return sorted(value)
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return value
