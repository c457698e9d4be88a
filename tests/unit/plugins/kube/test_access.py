"""How a module finds its API server."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._kube import access as _access

URL = "https://api.example.com:6443"


@pytest.fixture
def kubeconfig(tmp_path):
    """A kubeconfig with two contexts, whose servers are one.example and two.example."""
    names = ("one", "two")
    content = {
        "current-context": "one",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example"}} for name in names],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture
def nothing(monkeypatch):
    """A machine with no kubeconfig, outside of any Pod."""
    monkeypatch.setattr(_access.kubernetes.config, "KUBE_CONFIG_DEFAULT_LOCATION", "/no/such/file")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def token_of(configuration):
    return configuration.get_api_key_with_prefix("BearerToken")


def test_a_kubeconfig_gives_server_and_token(kubeconfig):
    configuration = _access.configuration_of({"kubeconfig": kubeconfig})
    assert (configuration.host, token_of(configuration)) == ("https://one.example", "Bearer token-of-one")
    assert _access.configuration_of({"kubeconfig": kubeconfig, "context": "two"}).host == "https://two.example"


def test_what_is_said_wins_over_a_kubeconfig(kubeconfig):
    given = {"kubeconfig": kubeconfig, "host": URL, "api_key": "mine", "validate_certs": False, "ca_cert": "/ca.crt"}
    configuration = _access.configuration_of({**given, "client_cert": "/c.crt", "client_key": "/c.key"})
    assert (configuration.host, token_of(configuration)) == (URL, "Bearer mine")
    assert (configuration.verify_ssl, configuration.ssl_ca_cert) == (False, "/ca.crt")
    assert (configuration.cert_file, configuration.key_file) == ("/c.crt", "/c.key")


def test_a_host_needs_no_kubeconfig(nothing):
    configuration = _access.configuration_of({"host": URL, "api_key": "mine"})
    assert (configuration.host, token_of(configuration), configuration.verify_ssl) == (URL, "Bearer mine", True)


def test_without_any_it_says_what_to_set(nothing):
    with pytest.raises(TaskError, match=r"no cluster to talk to: .*Set kubeconfig .* or host and api_key") as error:
        _access.configuration_of({})
    assert error.value.reason == "NoCluster"
