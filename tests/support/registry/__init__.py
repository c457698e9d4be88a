"""Registries and repositories for tests."""
