"""Looking images up as the modules do, with made-up pull secrets."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image.lookup import LookupSettings, look_up
from ansible_collections.taskflow.operator.plugins.module_utils._kube.kind import SECRET, Kind

from support.registry.registries import OTHER_PASSWORD, PASSWORD, USER


class Cluster:
    """The Secrets and ServiceAccounts of a namespace, made up."""

    def __init__(self, **secrets: dict) -> None:
        self.secrets = secrets
        self.account: dict = {}

    def get(self, kind: Kind, namespace: str, name: str) -> dict | None:
        return self.secrets.get(name) if kind == SECRET else self.account


def pull_secret(key: str, user: str = USER, password: str = PASSWORD, legacy: bool = False) -> dict:
    entries = {key: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}}
    kind, name = ("dockercfg", ".dockercfg") if legacy else ("dockerconfigjson", ".dockerconfigjson")
    content = json.dumps(entries if legacy else {"auths": entries})
    return {"type": f"kubernetes.io/{kind}", "data": {name: base64.b64encode(content.encode()).decode()}}


def look(image: str, cluster: Cluster | None = None, *secrets: str, architecture: str = "amd64", **options):
    mirrors = options.pop("mirrors", {})
    settings = LookupSettings(mirrors, architecture, **options)
    return look_up(cluster or Cluster(), "team", "default", secrets, [image], settings)[image]


def refusal(*arguments, **options) -> TaskError:
    """Look up what fails, and return how; no error may tell a password or leave the image out."""
    with pytest.raises(TaskError) as caught:
        look(*arguments, **options)
    error = caught.value
    assert (error.reason, error.permanent) == ("ImageLookupFailed", False)
    assert error.retry_after >= 1
    assert arguments[0] in error.message
    for word in (PASSWORD, OTHER_PASSWORD, "wrong-word", base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()):
        assert word not in error.message
    return error
