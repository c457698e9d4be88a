"""Log lines: one JSON object each, with ts, level, logger and msg, and the fields that the call adds by ``extra``."""

import datetime
import logging
import sys
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

LEVELS = ("debug", "info", "warning", "error")

_PACKAGE = __name__.partition(".")[0]

# The lowest level of libraries whose lines we log better, or don't want:
_QUIET = {
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

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data["logger"] = _short(record.name)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(name: str) -> str:
    """Return a logger's name without our subpackages, which readers of the log need not know."""
    package, _dot, module = name.partition(".")
    return f"{package}.{module.rpartition('.')[2]}" if package == _PACKAGE and module else name


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send all log records of a level and above to a stream.

    Args:
        level: one of ``LEVELS``.
        stream: None for stderr.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, quiet_level in _QUIET.items():
        logging.getLogger(name).setLevel(quiet_level)
