"""What the node says over HTTP: probes, metrics, and pages for people."""
