# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """How a module finds its Tasks."""

    DOCUMENTATION = r"""
options:
  name:
    description:
      - The Task's name.
      - Either O(name) or O(tasks) is given.
    type: str
  namespace:
    description: The Task's namespace. Those in O(tasks) have their own.
    type: str
    default: default
  tasks:
    description:
      - Many Tasks to serve in one go, in place of O(name). They share one connection and the reading of their Pods.
      - Each gets its own result in RV(ignore:results). One that fails fails neither the others nor the module.
    type: list
    elements: dict
    suboptions:
      name:
        description: The Task's name.
        type: str
        required: true
      namespace:
        description: The Task's namespace.
        type: str
        default: default
attributes:
  check_mode:
    description: Can run in check_mode and return what it would change, without changing it.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would in check_mode, when diff mode is on.
    support: full
"""
