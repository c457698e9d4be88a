"""Metrics that playbooks make, with the protocol of the module ``operator_sdk.util.osdk_metric``.

The module POSTs ``{"name": ..., "description": ..., "gauge": {"set": 2}}`` to http://localhost:5050/metrics. The first
such request makes the metric; each one may change it. The series are served with the controller's own.
"""

import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.core import UnknownMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from taskflow_controller.serve.http_endpoint import HttpEndpoint

FLAG = "--user-metrics-bind-address"
PATH = "/metrics"
MAX_METRICS = 1000
_MAX_BODY = 64 * 1024
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # the SDK's
_FLAGS = {"increment", "decrement", "set_to_current_time"}  # the others take a number

# The actions that each type allows. If a request has several, the first counts, as in the SDK.
_ACTIONS = {
    "counter": ("increment", "add"),
    "gauge": ("increment", "decrement", "add", "subtract", "set", "set_to_current_time"),
    "histogram": ("observe",),
    "summary": ("observe",),
}


@dataclass(frozen=True)
class Update:
    """One request: make the metric if it does not exist, then perform an action.

    Attributes:
        name: the metric's name.
        description: the metric's help text.
        type: counter, gauge, histogram or summary.
        action: what to do, such as ``increment``; None for nothing.
        amount: the number for the action.
    """

    name: str
    description: str
    type: str
    action: str | None
    amount: float = 0.0


def parse(body: bytes) -> Update:
    """Return the update that a request's body asks for.

    Raises:
        ValueError: the body is wrong. The text names the field.
    """
    try:
        request = json.loads(body)
    except ValueError as exc:
        raise ValueError(f"the body is not JSON: {exc}") from exc
    if not isinstance(request, dict):
        raise ValueError("the body is not a JSON object")
    unknown = request.keys() - _ACTIONS.keys() - {"name", "description"}
    if unknown:
        raise ValueError(f"unknown field {min(unknown)!r}")
    name = request.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"name: {name!r} is not a metric's name, such as my_operator_backups")
    types = [type_ for type_ in _ACTIONS if request.get(type_) is not None]
    if len(types) != 1:
        raise ValueError(f"{name}: give one of {', '.join(_ACTIONS)}, not {len(types)}")
    action, amount = _action(name, types[0], request[types[0]])
    return Update(name, str(request.get("description") or ""), types[0], action, amount)


def _action(name: str, type_: str, given: Any) -> tuple[str | None, float]:
    where = f"{name}: {type_}"
    if not isinstance(given, dict):
        raise ValueError(f"{where}: {given!r} is not an object")
    unknown = given.keys() - set(_ACTIONS[type_])
    if unknown:
        raise ValueError(f"{where}: unknown field {min(unknown)!r}; the fields are {', '.join(_ACTIONS[type_])}")
    amounts = {action: _amount(f"{where}.{action}", action, value) for action, value in given.items()}
    if type_ == "counter" and amounts.get("add", 0.0) < 0:
        raise ValueError(f"{where}.add: {amounts['add']:g} is negative, and a counter can't go down")
    for action in _ACTIONS[type_]:
        if amounts.get(action) or (action in ("set", "observe") and given.get(action) is not None):
            return action, amounts[action]
    return None, 0.0


def _amount(where: str, action: str, value: Any) -> float:
    """Return an action's number. True is 1; false and null are 0, which means nothing to do."""
    if value is None:
        return 0.0
    if isinstance(value, bool) != (action in _FLAGS) or not isinstance(value, int | float):
        raise ValueError(f"{where}: {value!r} is not {'true or false' if action in _FLAGS else 'a number'}")
    if not math.isfinite(value):
        raise ValueError(f"{where}: {value!r} is not finite")
    return float(value)


@dataclass
class UserMetrics:
    """The metrics of playbooks. Thread-safe.

    Attributes:
        registry: where they are made.
    """

    registry: CollectorRegistry
    _metrics: dict[str, tuple[str, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, update: Update) -> None:
        """Perform an update.

        Raises:
            ValueError: the name is in use for something else, or there are too many metrics.
        """
        with self._lock:
            type_, metric = self._metrics.get(update.name) or (update.type, self._make(update))
            if type_ != update.type:
                raise ValueError(f"{update.name} is a {type_}; it can't become a {update.type}")
            self._metrics[update.name] = (type_, metric)
        _CHANGES[update.action](metric, update.amount)

    def _make(self, update: Update) -> Any:
        if len(self._metrics) >= MAX_METRICS:
            raise ValueError(f"{update.name}: there are already {MAX_METRICS} metrics of playbooks")
        name, text = update.name, update.description
        try:
            match update.type:
                case "counter" if not name.endswith("_total"):
                    return _PlainCounter(name, text, self.registry)
                case "counter":
                    return Counter(name, text, registry=self.registry)
                case "gauge":
                    return Gauge(name, text, registry=self.registry)
                case "histogram":
                    return Histogram(name, text, registry=self.registry, buckets=_BUCKETS)
                case _:
                    return Summary(name, text, registry=self.registry)
        except ValueError as exc:
            raise ValueError(f"{name}: this name, or one derived from it, is already in use") from exc


_CHANGES: Mapping[str | None, Callable[[Any, float], None]] = {
    None: lambda metric, amount: None,
    "increment": lambda metric, amount: metric.inc(),
    "decrement": lambda metric, amount: metric.dec(),
    "add": lambda metric, amount: metric.inc(amount),
    "subtract": lambda metric, amount: metric.dec(amount),
    "set": lambda metric, amount: metric.set(amount),
    "set_to_current_time": lambda metric, amount: metric.set_to_current_time(),
    "observe": lambda metric, amount: metric.observe(amount),
}


class _PlainCounter(Collector):
    """A counter with exactly the given name. The library's own adds ``_total``, which the SDK does not."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry) -> None:
        self._name, self._text, self._value, self._lock = name, text, 0.0, threading.Lock()
        registry.register(self)

    def inc(self, amount: float = 1.0) -> None:
        with self._lock:
            self._value += amount

    def collect(self) -> Iterable[Metric]:
        return (UnknownMetricFamily(self._name, self._text, value=self._value),)


def user_metrics_endpoint(address: str, registry: CollectorRegistry) -> HttpEndpoint:
    """Return an endpoint to which playbooks POST metrics.

    Args:
        address: where to listen.
        registry: where the metrics are made.

    Raises:
        ConfigError: the address can't be bound.
    """
    metrics = UserMetrics(registry)
    return HttpEndpoint(FLAG, address, type("Handler", (_Handler,), {"metrics": metrics}))


class _Handler(BaseHTTPRequestHandler):
    metrics: UserMetrics

    def do_POST(self) -> None:
        try:
            status, text = self._handle()
        except ValueError as exc:
            status, text = HTTPStatus.BAD_REQUEST, str(exc)
        self._answer(status, text)

    def do_GET(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "this address only takes metrics, by POST; it does not serve them")

    def _handle(self) -> tuple[HTTPStatus, str]:
        length = self.headers.get("Content-Length", "")
        if self.path != PATH:
            return HTTPStatus.NOT_FOUND, f"not found; the path is {PATH}"
        if not length.isdigit():
            return HTTPStatus.LENGTH_REQUIRED, "the request has no Content-Length"
        if int(length) > _MAX_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {_MAX_BODY} bytes"
        self.metrics.apply(parse(self.rfile.read(int(length))))
        return HTTPStatus.OK, ""

    def _answer(self, status: HTTPStatus, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a refused request fails the playbook's task with the text."""
