"""The API proxy: what the plays of a run talk to in place of the API server."""

from taskflow_controller.proxy.server import ApiProxy

__all__ = ["ApiProxy"]
