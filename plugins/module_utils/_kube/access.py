# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""How a module finds its API server: a kubeconfig, a Pod's ServiceAccount, or arguments as kubernetes.core has them."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible.module_utils.basic import env_fallback

from .._errors import TaskError

with contextlib.suppress(ImportError):  # the modules say so: client.HAS_KUBERNETES
    import kubernetes


def _from(variable: str, kind: str = "str", **more: t.Any) -> dict[str, t.Any]:
    return {"type": kind, "fallback": (env_fallback, [f"K8S_AUTH_{variable}"]), **more}


CLUSTER_ARGUMENTS: t.Mapping[str, dict[str, t.Any]] = {
    "kubeconfig": _from("KUBECONFIG", "path"),
    "context": _from("CONTEXT"),
    "host": _from("HOST"),
    "api_key": _from("API_KEY", no_log=True),
    "ca_cert": _from("SSL_CA_CERT", "path"),
    "validate_certs": _from("VERIFY_SSL", "bool"),
    "client_cert": _from("CERT_FILE", "path"),
    "client_key": _from("KEY_FILE", "path"),
}
# The client library's names of what may stand in place of a kubeconfig's values.
_OVERRIDES = {
    "host": "host",
    "ca_cert": "ssl_ca_cert",
    "validate_certs": "verify_ssl",
    "client_cert": "cert_file",
    "client_key": "key_file",
}


def configuration_of(params: t.Mapping[str, t.Any]) -> t.Any:
    """Return the client library's configuration for a module's CLUSTER_ARGUMENTS; what is not given counts as None.

    A kubeconfig comes first, then the ServiceAccount inside a Pod; neither is needed where there is a host. What the
    arguments say wins over both.

    Raises:
        TaskError: NoCluster: no cluster is configured.
    """
    configuration = kubernetes.client.Configuration()
    kubeconfig, context = params.get("kubeconfig"), params.get("context")
    config = kubernetes.config
    try:
        if kubeconfig or context or (not params.get("host") and _has_default_kubeconfig()):
            config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
        elif not params.get("host"):
            config.load_incluster_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise TaskError(
            "NoCluster",
            f"no cluster to talk to: {error}. Set kubeconfig (or KUBECONFIG), or host and api_key, or run in a Pod "
            "with a ServiceAccount",
        ) from error
    for name, attribute in _OVERRIDES.items():
        if params.get(name) is not None:
            setattr(configuration, attribute, params[name])
    if params.get("api_key"):
        configuration.api_key = {"BearerToken": f"Bearer {params['api_key']}"}
        # A kubeconfig's own token, or the ServiceAccount's, would come back by it.
        configuration.refresh_api_key_hook = None
    return configuration


def _has_default_kubeconfig() -> bool:
    """Tell whether KUBECONFIG or the home directory leads to a kubeconfig; several may be named, as for kubectl."""
    paths: str = kubernetes.config.KUBE_CONFIG_DEFAULT_LOCATION
    return any(os.path.exists(os.path.expanduser(path)) for path in paths.split(os.pathsep))
