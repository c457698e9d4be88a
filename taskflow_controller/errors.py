"""Exceptions that mean the user's input is wrong, not the program."""


class ConfigError(Exception):
    """A flag, an environment variable or the watches file can't be used. The text names what and where."""
