"""Shows the controller's state: health checks and metrics over HTTP, and log lines."""
