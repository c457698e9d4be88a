# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules share which make Pods."""

from __future__ import annotations


class ModuleDocFragment:
    """How a Pod is made of a Task."""

    DOCUMENTATION = r"""
options:
  agent_image:
    description:
      - The image that holds the agent, which starts each step when it is its turn.
      - Read from E(TASKFLOW_AGENT_IMAGE) when not given; else it is C(docker.io/taskflow/agent) of this version.
    type: str
"""
