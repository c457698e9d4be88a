"""The kubeconfig of one run, and the environment that has the run use it."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

LOOPBACK = "127.0.0.1"


def write_kubeconfig(path: Path, url: str, authority: bytes, token: str) -> None:
    """Write a kubeconfig that only this user can read; JSON is YAML."""
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
    """Return what a run needs in its environment to use a kubeconfig, whose server may be on loopback.

    ``environ`` is what it is laid over: where an HTTP proxy is set there, loopback is excepted from it.
    """
    path = os.fspath(kubeconfig)
    excepted = {
        name: ",".join(filter(None, [environ.get(name, ""), LOOPBACK]))
        for name in ("NO_PROXY", "no_proxy")
        if any(environ.get(proxy) for proxy in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    }
    return {"KUBECONFIG": path, "K8S_AUTH_KUBECONFIG": path, **excepted}
