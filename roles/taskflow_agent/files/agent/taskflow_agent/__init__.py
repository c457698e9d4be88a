"""The in-Pod agent: starts a step's command when its turn has come, and reports how it ended.

It is frozen into one static executable (see ../build.sh) and also runs from source with any Python 3.11 or newer. The
interpreter in the executable has no standard library except its built-in modules, and every import delays every step.
So the agent uses `posix` and `_signal` (see `system`) instead of `os` and `signal`, and no argparse, json, dataclasses
or typing.
"""

__version__ = "0.1.0"
