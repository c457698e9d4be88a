"""Exceptions for wrong input from the user."""


class ConfigError(Exception):
    """A flag, an environment variable or the watches file can't be used. The text says what is wrong, and where."""
