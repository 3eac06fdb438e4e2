"""The command `check-peer`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from node.console import EXIT_MISUSED, err, out, reported
from node.outbound import DestinationSettings, SenderSettings
from node.round_trip import check_peer
from node.telemetry import LogSettings, configure_logging
from node.tls import DestinationTlsSettings


def check_peer_command(
    host: Annotated[str, typer.Argument(help="host name or address of a DICOM peer, such as this node")],
    port: Annotated[int, typer.Argument(help="its TCP port")],
    ae_title: Annotated[str, typer.Option(help="AE title of the peer")] = "CSVD",
    calling_ae: Annotated[str, typer.Option(help="AE title that the peer is called from")] = "CSVD",
    tls_ca: Annotated[
        Path | None, typer.Option(help="use TLS: PEM file of the CAs that its certificate may come from")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file of the certificate to show")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of that certificate's key")] = None,
    tls_host_name: Annotated[
        str, typer.Option(help="name in its certificate, where that is not its host")
    ] = "",
) -> None:
    """Check a DICOM peer: C-ECHO, then C-STORE of a small test Instance, always the same one."""
    configure_logging(LogSettings(level="ERROR"))
    # The error says it better, and once.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    with reported():
        try:
            if tls_ca is None and (tls_certificate or tls_key or tls_host_name):
                raise typer.BadParameter("TLS, which the others ask for, needs it", param_hint="--tls-ca")
            tls = None
            if tls_ca is not None:
                tls = DestinationTlsSettings(
                    ca=tls_ca, certificate=tls_certificate, key=tls_key, host_name=tls_host_name
                )
            peer = DestinationSettings(ae_title=ae_title, host=host, port=port, tls=tls)
            settings = SenderSettings(ae_title=calling_ae)
        except ValidationError as error:
            for fault in error.errors():
                where = ".".join(map(str, fault["loc"]))
                err.print(f"{where}: {fault['msg']}".lstrip(": "), style="red", markup=False, soft_wrap=True)
            raise typer.Exit(EXIT_MISUSED) from error
        check_peer(peer, settings)
        out.print(f"{peer} answered C-ECHO and took an Instance.", markup=False, soft_wrap=True)
