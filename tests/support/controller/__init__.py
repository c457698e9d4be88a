"""The controller as tests run it."""
