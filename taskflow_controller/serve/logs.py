"""Log lines: one JSON object each, with ts, level, logger and msg, and what the call adds by ``extra``."""

import datetime
import logging
import sys
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

LEVELS = ("debug", "info", "warning", "error")

# Libraries that log what we say better, or not at all:
_QUIET = {
    "kubernetes.informer.informer": logging.CRITICAL,  # a traceback for each failed try, see informers.py
    "leaderelection": logging.WARNING,  # a line for each renewal
    "urllib3": logging.ERROR,
    "ansible-runner": logging.WARNING,
}


class _Formatter(JsonFormatter):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={
                "asctime": "ts",
                "levelname": "level",
                "name": "logger",
                "message": "msg",
                "exc_info": "traceback",
            },
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send all log records of ``level`` and above to ``stream`` (stderr if not given)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, quiet_level in _QUIET.items():
        logging.getLogger(name).setLevel(quiet_level)
