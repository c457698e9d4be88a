# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules share which have a resource as it is wanted."""

from __future__ import annotations


class ModuleDocFragment:
    """What is wanted of a resource, and whether to wait for its end."""

    DOCUMENTATION = r"""
options:
  name:
    description: The resource's name. It may stand in O(definition) instead.
    type: str
  namespace:
    description: The resource's namespace. One in O(definition) counts more.
    type: str
    default: default
  state:
    description:
      - With V(present) the resource is created, or changed where it is not as it is wanted.
      - With V(absent) it is deleted, with its Pods and Jobs.
    type: str
    choices: [present, absent]
    default: present
  spec:
    description:
      - The whole spec. A field that is not given has its default, even if the resource has something else in it now.
      - It is compared as the API server completes it. The same spec once more changes nothing, and runs nothing again.
    type: dict
  definition:
    description:
      - The whole resource, as in a manifest, in place of O(spec).
      - Its labels and annotations are added to those that the resource has.
    type: dict
  wait:
    description:
      - Whether to wait for the end, and to fail when it is no success. A resource that ended earlier is judged at once.
      - With O(state=absent), whether to wait until it is gone.
      - Nothing is waited for in check mode.
    type: bool
    default: false
  wait_timeout:
    description: For how many seconds to wait. After that the module fails; the resource goes on.
    type: int
    default: 600
  log_lines:
    description: How many of the last lines of a failed step's log are returned; V(0) for none.
    type: int
    default: 20
attributes:
  check_mode:
    description: The API server is asked whether it would take the change, and nothing is changed.
    support: full
  diff_mode:
    description: Shows spec, labels and annotations before and after.
    support: full
"""
