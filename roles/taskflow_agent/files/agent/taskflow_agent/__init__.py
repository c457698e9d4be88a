"""The in-Pod agent: starts a step's command when its turn has come, and tells how it ended.

It is frozen into one static executable (see ../build.sh) and also runs from source with any Python 3.11
or newer. The interpreter inside the executable has no standard library beyond its built-in modules, and
every import delays every step: hence `posix` and `_signal` (see `system`) in place of `os` and `signal`,
and no argparse, json, dataclasses or typing.
"""

__version__ = "0.1.0"
