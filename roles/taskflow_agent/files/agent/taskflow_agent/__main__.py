"""Run the agent from source: `python3 -m taskflow_agent …`."""

import os
import sys

from .main import main

# As in the executable: no interpreter shutdown between the end of the step and the end of the container.
os._exit(main(sys.argv[1:]))
