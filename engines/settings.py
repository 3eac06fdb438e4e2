"""What can be chosen about compiled engines."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from engines.local_path import LocalPath
from engines.precision import Precision


class EngineSettings(BaseModel):
    """How networks are compiled for a GPU, and where the plans are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cache: LocalPath | None = Field(
        default=None, description="folder of compiled plans; by default engines in the node's root"
    )
    first_precision: Precision = Field(
        default=Precision.FP16,
        description="the fastest precision that is tried: int8, fp16, bf16, tf32 or fp32; "
        "the slower ones follow until one agrees with the reference",
    )
    version_compatible: bool = Field(
        default=False,
        description="make plans of full TensorRT that its later versions run, too; needs tensorrt-lean",
    )
