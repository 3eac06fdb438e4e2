"""nginx before a DICOMweb server, as hospitals put it there: it ends TLS and asks for certificates."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.certificates import KeyPair
from tests.support.peers import LOOPBACK, free_port, running

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")

_CONFIGURATION = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {address}:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    {clients}
    location / {{ proxy_pass http://{address}:{upstream}; }}
  }}
}}
"""


@contextmanager
def reverse_proxy(folder: Path, upstream: int, own: KeyPair, client_ca: Path | None = None) -> Iterator[str]:
    """Run nginx before a port on loopback and yield the URL that it answers to.

    Args:
        folder: where it works; made if missing.
        upstream: the HTTP port that requests are handed to.
        own: the certificate that it shows.
        client_ca: the CA that clients must show a certificate of; None asks for none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    clients = f"ssl_client_certificate {client_ca}; ssl_verify_client on;" if client_ca else ""
    (folder / "nginx.conf").write_text(
        _CONFIGURATION.format(
            folder=folder, address=LOOPBACK, port=port, upstream=upstream, certificate=own.certificate,
            key=own.key, clients=clients,
        )
    )  # fmt: skip
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, folder, port):
        yield f"https://{LOOPBACK}:{port}"
