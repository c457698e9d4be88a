"""``python -m taskflow_controller``."""

import sys

from taskflow_controller.cli import main

if __name__ == "__main__":
    sys.exit(main())
