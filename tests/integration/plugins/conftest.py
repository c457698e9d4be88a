"""Registries for the tests of the look-up: real ones on ports of their own, with and without TLS and users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.registry.registries import Authority, Registry, Stand


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    """A CA of the tests' own."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Iterator[Registry]:
    """A registry without TLS that everybody may use."""
    with Registry(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


@pytest.fixture(scope="session")
def trusted(tmp_path_factory, authority) -> Iterator[Registry]:
    """A registry with TLS that everybody may use."""
    with Registry(tmp_path_factory.mktemp("trusted"), authority) as registry:
        yield registry


@pytest.fixture(scope="session")
def private(tmp_path_factory, authority) -> Iterator[Registry]:
    """A registry with TLS that only users may use."""
    with Registry(tmp_path_factory.mktemp("private"), authority, users=True) as registry:
        yield registry


@pytest.fixture
def stand(authority) -> Iterator[Stand]:
    """A server that answers as the test says."""
    with Stand(authority) as server:
        yield server
