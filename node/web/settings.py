"""Where the node answers over HTTP."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class WebSettings(BaseModel):
    """The HTTP port of a process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address of the HTTP port; the default is this machine only",
    )
    port: int | None = Field(
        default=8080,
        ge=0,
        le=65535,
        description="TCP port of probes, metrics and pages; 0 takes a free one, null opens none",
    )
