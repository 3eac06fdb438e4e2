"""Where traces go."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TraceSettings(BaseModel):
    """Where an OpenTelemetry collector takes the stages of the Studies' way, if anywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str | None = Field(
        default=None,
        pattern="^https?://.+",
        description="URL that takes OTLP over HTTP (http://collector:4318/v1/traces); without it, no traces",
    )
    timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="seconds within which the collector must answer"
    )
