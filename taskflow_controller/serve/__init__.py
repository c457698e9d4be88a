"""What the controller answers over HTTP, and what it logs: health, metrics, log lines."""
