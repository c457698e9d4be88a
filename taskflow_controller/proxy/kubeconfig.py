"""The kubeconfig of one run, and the environment that makes the run use it."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

LOOPBACK = "127.0.0.1"


def write_kubeconfig(path: Path, url: str, authority: bytes, token: str) -> None:
    """Write a kubeconfig, as JSON, that only this user can read.

    Args:
        path: the file to write.
        url: where the proxy is.
        authority: the certificate (PEM) that has signed the proxy's.
        token: the run's bearer token.

    Raises:
        OSError: it can't be written.
    """
    name = "api-proxy"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": url, "certificate-authority-data": base64.b64encode(authority).decode()},
            }
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)


def environment(kubeconfig: str | os.PathLike[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that make a run use a kubeconfig, whose server may be on loopback.

    Args:
        kubeconfig: the file.
        environ: the rest of the run's environment. If it sets an HTTP proxy, loopback is excepted from that.
    """
    path = os.fspath(kubeconfig)
    excepted = {
        name: ",".join(filter(None, [environ.get(name, ""), LOOPBACK]))
        for name in ("NO_PROXY", "no_proxy")
        if any(environ.get(proxy) for proxy in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    }
    return {"KUBECONFIG": path, "K8S_AUTH_KUBECONFIG": path, **excepted}
