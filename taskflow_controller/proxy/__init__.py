"""The API proxy, which the playbooks of a run talk to in place of the API server."""

from taskflow_controller.proxy.server import ApiProxy

__all__ = ["ApiProxy"]
