"""Settings of what is received."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from node.tls import ReceiverTlsSettings
from node.upper_layer import DEFAULT_MAXIMUM_PDU_BYTES, AeTitle


class ReceiverSettings(BaseModel):
    """Where the receiver listens, to whom, and how patiently."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ae_title: AeTitle = Field(
        default="CSVD", description="AE title of the receiver; peers must call it by this"
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address to listen on; the default is this machine only",
    )
    port: int = Field(default=11112, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one")
    calling_aes: tuple[AeTitle, ...] = Field(default=(), description="AE titles that may send")
    accept_any_calling_ae: bool = Field(
        default=False, description="let every AE title send, whether it is in calling_aes or not"
    )
    maximum_pdu_bytes: int = Field(
        default=DEFAULT_MAXIMUM_PDU_BYTES,
        ge=16 * 1024,
        le=16 * 1024 * 1024,
        description="longest PDU to accept, bytes",
    )
    maximum_instance_bytes: int = Field(
        default=1024**3,
        ge=1024**2,
        le=4 * 1024**3,
        description="longest Instance to accept, bytes; it is in memory while it arrives",
    )
    maximum_associations: int = Field(
        default=64, ge=1, le=500, description="associations open at the same time"
    )
    acse_timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="seconds to wait for the messages that open and close associations",
    )
    idle_timeout_s: float = Field(
        default=300.0, gt=0, le=86400, description="seconds of silence after which an association is aborted"
    )
    tls: ReceiverTlsSettings | None = Field(
        default=None, description="TLS for what is received; without it, the port takes plain DICOM only"
    )
    stop_grace_s: float = Field(
        default=10.0,
        ge=0,
        le=600,
        description="seconds that open associations get to finish when the node stops",
    )
