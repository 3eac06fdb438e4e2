"""The image's health check: asks the node in this container whether it lives, or the probe that is named."""

import os
import sys
import urllib.request

port = os.environ.get("CSVD_WEB__PORT", "8080")
(probe,) = sys.argv[1:] or ["live"]
try:
    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/{probe}", timeout=4).close()
except OSError as error:
    sys.exit(f"not healthy: {error}")
