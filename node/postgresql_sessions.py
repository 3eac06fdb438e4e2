"""What every session with PostgreSQL has in common: an end that is gone is noticed within seconds."""

from __future__ import annotations

from urllib.parse import quote, urlencode

GONE_AFTER_MS = 9000
"""Time after which an end that answers nothing on the network is taken for gone, ms."""

CONNECT_TIMEOUT_S = 5
"""How long to wait for a connection, s."""

KEEPALIVES = {"keepalives_idle": 3, "keepalives_interval": 2, "keepalives_count": 3}
"""Questions to an end that is silent, s and number: three without an answer take those 9 s."""

IDLE_TRANSACTION_MS = 60_000
"""How long a process that stands still may keep the rows that it locked, ms. No transaction of the node waits
for anything but the database."""

_SERVER = {
    **{f"tcp_{name}": value for name, value in KEEPALIVES.items()},
    "tcp_user_timeout": GONE_AFTER_MS,
    "idle_in_transaction_session_timeout": IDLE_TRANSACTION_MS,
}
"""Settings of the server for the session: a machine that is gone would else keep its locks for two hours."""

_PARAMETERS = {
    # From a database in SQL_ASCII texts would come as bytes.
    "client_encoding": "utf8",
    "connect_timeout": CONNECT_TIMEOUT_S,
    **KEEPALIVES,
    "tcp_user_timeout": GONE_AFTER_MS,
    "options": " ".join(f"-c {name}={value}" for name, value in _SERVER.items()),
}


def with_session_parameters(url: str) -> str:
    """Add to a URL of a database what its sessions need, unless it says something else itself.

    Source: PostgreSQL, libpq, 34.1.2 "Parameter Key Words", and 20.3.2 "TCP Settings".
    """
    missing = {name: value for name, value in _PARAMETERS.items() if f"{name}=" not in url}
    begin = "&" if "?" in url else "?"
    return f"{url}{begin}{urlencode(missing, quote_via=quote)}" if missing else url
