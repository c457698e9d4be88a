"""The API server: how to reach it, raw JSON requests, and where a kind's resources are."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.utils.keepalive import tcp_keepalive_socket_options

from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.kinds import GroupVersionKind

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
NOT_FOUND = 404
JSON = "application/json"
METADATA_LIST = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"
PAGE_SIZE = 500  # objects in one part of a list
MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
_MAX_CAUSE = 300


class KindNotServedError(Exception):
    """The API server does not serve this kind, at least not now."""

    def __init__(self, gvk: GroupVersionKind) -> None:
        super().__init__(f"the API server does not serve {gvk}; is its CustomResourceDefinition installed?")


@dataclass(frozen=True)
class ApiResource:
    """Where the objects of a kind are, and whether their status has a subresource of its own."""

    plural: str
    namespaced: bool
    has_status: bool = False


def connect(kubeconfig: str | None) -> client.ApiClient:
    """Return a client of the API server, and make it the default, which the client library's LeaseLock uses.

    Sends nothing yet.

    Args:
        kubeconfig: a file; None for the Pod's ServiceAccount or, outside a Pod, the default kubeconfig.

    Raises:
        ConfigError: there is no kubeconfig, or the file is not one.
    """
    configuration = client.Configuration()
    try:
        if kubeconfig:
            config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
        else:
            _load_default(configuration)
    except (config.ConfigException, OSError) as exc:
        source = f"--kubeconfig {kubeconfig}" if kubeconfig else "no cluster to talk to"
        raise ConfigError(f"{source}: {exc}") from exc
    except (TypeError, ValueError, LookupError, AttributeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{kubeconfig or 'the default kubeconfig'}: is not a kubeconfig") from exc
    # A dead peer is noticed within a minute, even on a watch that is silent for good reason.
    configuration.socket_options = tcp_keepalive_socket_options(idle=20, interval=10, count=3)
    configuration.retries = False  # each caller retries in its own way, and says so
    client.Configuration.set_default(configuration)
    return client.ApiClient(configuration)


def _load_default(configuration: client.Configuration) -> None:
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        config.load_kube_config(client_configuration=configuration)


class Stream:
    """A response that comes in pieces. One thread reads and closes it; any thread may interrupt it before that."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        """Yield each piece as it arrives.

        Raises:
            urllib3.exceptions.HTTPError: the connection broke, or was silent for too long.
        """
        return cast(Iterator[bytes], self._response.stream(amt=None, decode_content=False))

    def interrupt(self) -> None:
        """Make the reader see the end, or an error, now. Does not wait."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # it has ended by itself
            self._response.shutdown()

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._response.release_conn()


class ApiServer:
    """Raw requests, without models: JSON in dicts. Thread-safe."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self.client = api_client

    def get(self, path: str, query: Mapping[str, Any] | None = None, accept: str = JSON) -> dict[str, Any]:
        """Return the JSON at a path.

        Args:
            path: of an object or a list.
            query: what else is asked for.
            accept: in which form. ``METADATA_LIST`` is that of a list without specs and statuses.

        Raises:
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        response = self._request("GET", path, query, READ_TIMEOUT, accept=accept)
        return cast(dict[str, Any], json.loads(response.data))

    def patch(self, path: str, body: Any, content_type: str) -> dict[str, Any]:
        """Patch an object and return it.

        Args:
            path: where the object is.
            body: the patch.
            content_type: ``MERGE_PATCH`` or ``JSON_PATCH``.

        Raises:
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        response = self._request("PATCH", path, None, READ_TIMEOUT, body=body, content_type=content_type)
        return cast(dict[str, Any], json.loads(response.data))

    def stream(self, path: str, query: Mapping[str, Any], read_timeout: float) -> Stream:
        """Request a path and return the open response.

        Args:
            path: the path to request.
            query: the query parameters.
            read_timeout: the longest silence, in seconds.

        Raises:
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        return Stream(self._request("GET", path, query, read_timeout, preload=False).response)

    def resource(self, gvk: GroupVersionKind) -> ApiResource:
        """Look up where the objects of a kind are.

        Raises:
            KindNotServedError: the server does not have the kind.
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        try:
            found = self.get(group_path(gvk))
        except ApiException as exc:
            if exc.status == NOT_FOUND:
                raise KindNotServedError(gvk) from exc
            raise
        resources = found.get("resources") or []
        for resource in resources:
            name = resource["name"]
            if resource["kind"] == gvk.kind and "/" not in name:
                has_status = any(other["name"] == f"{name}/status" for other in resources)
                return ApiResource(name, bool(resource["namespaced"]), has_status)
        raise KindNotServedError(gvk)

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        read_timeout: float,
        *,
        preload: bool = True,
        body: Any = None,
        content_type: str = "",
        accept: str = JSON,
    ) -> Any:
        request = self.client.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params={
                "Accept": accept,
                **({"Content-Type": content_type} if content_type else {}),
            },
            body=body,
            auth_settings=["BearerToken"],
        )
        response = self.client.call_api(*request, _request_timeout=(CONNECT_TIMEOUT, read_timeout))
        ok = 200 <= response.status <= 299
        if preload or not ok:
            response.read()
        if not ok:
            raise ApiException(http_resp=response)
        return response


def group_path(gvk: GroupVersionKind) -> str:
    """Return the path of an API group's version."""
    return f"/apis/{gvk.group}/{gvk.version}" if gvk.group else f"/api/{gvk.version}"


def list_path(gvk: GroupVersionKind, resource: ApiResource, namespace: str | None) -> str:
    """Return the path of a kind's objects.

    Args:
        gvk: the kind.
        resource: where its objects are.
        namespace: None for all namespaces. A kind without namespaces has one path.
    """
    inside = f"/namespaces/{namespace}" if namespace and resource.namespaced else ""
    return f"{group_path(gvk)}{inside}/{resource.plural}"


def object_path(gvk: GroupVersionKind, resource: ApiResource, namespace: str, name: str) -> str:
    """Return the path of one object.

    Args:
        gvk: its kind.
        resource: where the objects of that kind are.
        namespace: "" for a cluster-scoped object.
        name: the object's.
    """
    return f"{list_path(gvk, resource, namespace or None)}/{quote(name, safe='')}"


def plain_cause(exc: BaseException) -> str:
    """Return an error in one readable line: the server's own message, or why the server can't be reached."""
    if isinstance(exc, ApiException):
        return _api_cause(exc)[:_MAX_CAUSE]
    root: BaseException = exc
    while isinstance(root, urllib3.exceptions.HTTPError) and (root.__cause__ or root.__context__):
        root = root.__cause__ or root.__context__ or root
    if isinstance(root, OSError):
        return (root.strerror or str(root) or type(root).__name__)[:_MAX_CAUSE]
    return (str(root) or type(root).__name__)[:_MAX_CAUSE]


def _api_cause(exc: ApiException) -> str:
    try:
        message = json.loads(exc.body or "")["message"]
    except (ValueError, TypeError, KeyError):
        message = exc.reason
    return f"HTTP {exc.status}: {message}" if exc.status else str(message)
