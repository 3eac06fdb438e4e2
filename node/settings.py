"""Everything that can be configured, in one place; every field has a safe default."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, Tag, model_validator

from engines.bundle import shipped_bundles
from engines.local_path import LocalPath
from engines.pipeline import PipelineSettings
from engines.runners.base import RunnerKind, RunnerSettings
from engines.segments import Segment
from engines.settings import EngineSettings
from node.backpressure import BackPressureSettings
from node.completeness import CompletenessSettings
from node.dicomweb import StowDestinationSettings
from node.identification import IdentificationRule
from node.outbound import DestinationSettings, SenderSettings
from node.postgresql_sessions import with_session_parameters
from node.receiver_settings import ReceiverSettings
from node.retention import RetentionSettings
from node.roles import ALL_ROLES, Role
from node.routing import RouteSettings
from node.storage import StorageSettings
from node.telemetry import LogSettings
from node.trace_settings import TraceSettings
from node.urgency import UrgentRule
from node.volume_reader import VolumeSettings
from node.web.settings import WebSettings

ENVIRONMENT_PREFIX = "CSVD_"
"""Settings are also read from variables such as ``CSVD_RECEIVER__PORT``."""

C_STORE, STOW = "C-STORE", "STOW-RS"
PROTOCOLS = frozenset({C_STORE, STOW})
"""How a destination is reached; told by its settings, and no key of the configuration."""

Destination = DestinationSettings | StowDestinationSettings
"""Whatever results are sent to."""


def _protocol(destination: Any) -> str:
    is_stow = "stow" in destination if isinstance(destination, dict) else hasattr(destination, "stow")
    return STOW if is_stow else C_STORE


_AnyDestination = Annotated[
    Annotated[DestinationSettings, Tag(C_STORE)] | Annotated[StowDestinationSettings, Tag(STOW)],
    Discriminator(_protocol),
]


class IdentificationSettings(BaseModel):
    """What an administrator adds to the table by which Series are identified."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[IdentificationRule, ...] = Field(
        default=(), description="tried in this order before the built-in rules"
    )


class PictureSettings(BaseModel):
    """What pictures and documents show beside the findings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patient: bool = Field(
        default=True,
        description="name patient and Study in key images and the PDF; false where identity must not be "
        "burned into pictures: then only the attributes have it",
    )


def _shipped() -> dict[Segment, Path]:
    return {segment: shipped_bundles() / segment.value.lower() for segment in Segment}


class NodeSettings(BaseModel):
    """The node's configuration; ``node.configuration`` reads it from file and environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: LocalPath = Field(
        default=Path("csvd-data"), description="folder of Studies, results and, with SQLite, of the index"
    )
    storage: StorageSettings = Field(
        default=StorageSettings(), description="a bucket for the files, which several machines can share"
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL of a PostgreSQL database (postgresql+psycopg://...); without it, SQLite",
    )
    start_wait_s: float = Field(
        default=300.0,
        ge=0,
        le=86400,
        description="seconds that a starting node waits for database, bucket and GPU driver to be there",
    )
    roles: tuple[Role, ...] = Field(
        default=ALL_ROLES,
        min_length=1,
        description="what this process does: receive, work, send, web; several processes need PostgreSQL",
    )
    stop_grace_s: int = Field(
        default=30,
        ge=0,
        le=3600,
        description="seconds that evaluations and deliveries in progress get to finish when the node stops",
    )
    receiver: ReceiverSettings = Field(default=ReceiverSettings(), description="who may send, and where to")
    completeness: CompletenessSettings = Field(
        default=CompletenessSettings(), description="when a Study is complete"
    )
    urgent: tuple[UrgentRule, ...] = Field(
        default=(), description="Studies that go before all others that wait; any match decides"
    )
    backpressure: BackPressureSettings = Field(
        default=BackPressureSettings(), description="what happens when more arrives than is evaluated"
    )
    retention: RetentionSettings = Field(default=RetentionSettings(), description="how long Studies are kept")
    identification: IdentificationSettings = Field(
        default=IdentificationSettings(), description="further rules on what a Series is"
    )
    volumes: VolumeSettings = Field(default=VolumeSettings(), description="what a volume must fulfil")
    segmentors: dict[Segment, LocalPath] = Field(
        default_factory=_shipped, description="folder of the model bundle for each segment"
    )
    runner: RunnerKind = Field(default=RunnerKind.AUTO, description="what runs the models")
    runner_limits: RunnerSettings = Field(
        default=RunnerSettings(), description="how much of the machine a model takes"
    )
    engines: EngineSettings = Field(default=EngineSettings(), description="how models are compiled for a GPU")
    pipeline: PipelineSettings = Field(
        default=PipelineSettings(), description="registration, exclusion and measurement"
    )
    pictures: PictureSettings = Field(
        default=PictureSettings(), description="what key images and the PDF show"
    )
    destinations: dict[str, _AnyDestination] = Field(
        default_factory=dict,
        description="where results go, by a name of your choice: an AE, or a DICOMweb server with stow",
    )
    routes: tuple[RouteSettings, ...] = Field(
        default=(),
        description="first match decides; without one, results go back to the AE that sent the Study if it "
        "is a destination, else to all",
    )
    sender: SenderSettings = Field(default=SenderSettings(), description="how results are sent and retried")
    web: WebSettings = Field(default=WebSettings(), description="where the node answers over HTTP")
    traces: TraceSettings = Field(default=TraceSettings(), description="where traces go")
    log: LogSettings = Field(default=LogSettings(), description="what is logged")

    @model_validator(mode="before")
    @classmethod
    def _keep_shipped_segmentors(cls, values: Any) -> Any:
        """Let a file replace one segmentor without naming the others again; null leaves one out.

        The name of an environment variable arrives in small letters, after what the file says.
        """
        named = values.get("segmentors") if isinstance(values, dict) else None
        if not isinstance(named, dict):
            return values
        merged = {str(segment): folder for segment, folder in _shipped().items()}
        merged |= {str(segment).upper(): folder for segment, folder in named.items()}
        return {**values, "segmentors": {key: folder for key, folder in merged.items() if folder is not None}}

    @model_validator(mode="after")
    def _destinations_are_known(self) -> NodeSettings:
        for position, route in enumerate(self.routes):
            unknown = sorted(set(route.destinations) - set(self.destinations))
            if unknown:
                raise ValueError(f"routes.{position}: no destination is named {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _archives_find_the_receiver(self) -> NodeSettings:
        asked = [name for name, each in self.destinations.items() if getattr(each, "commitment", False)]
        sender, receiver = self.sender.ae_title, self.receiver.ae_title
        if asked and sender != receiver:
            raise ValueError(
                f"destinations.{asked[0]}.commitment: the archive reports to the AE that asks it: give "
                f"sender.ae_title ({sender}) and receiver.ae_title ({receiver}) the same value"
            )
        return self

    @property
    def engine_folder(self) -> Path:
        """Folder of compiled engines."""
        return self.engines.cache or self.root / "engines"

    @property
    def index_url(self) -> str:
        """SQLAlchemy URL of the index."""
        return self._database_url("index.sqlite")

    @property
    def workflow_url(self) -> str:
        """SQLAlchemy URL of the workflow tables."""
        return self._database_url("workflows.sqlite")

    def with_roles(self, roles: Iterable[Role] | None) -> NodeSettings:
        """Return the same configuration for a process with these roles, each once; without any, itself."""
        chosen = tuple(dict.fromkeys(roles or ()))
        return self.model_copy(update={"roles": chosen}) if chosen else self

    def _database_url(self, file_name: str) -> str:
        if self.database_url is None:
            return f"sqlite:///{self.root.absolute() / file_name}"
        url = self.database_url.get_secret_value()
        return with_session_parameters(url) if url.startswith("postgresql") else url
