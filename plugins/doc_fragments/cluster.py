# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that all modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """How a module finds its cluster."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig that leads to the cluster.
      - Without it, E(KUBECONFIG) or the default kubeconfig is used, and inside a Pod its ServiceAccount.
      - Read from E(K8S_AUTH_KUBECONFIG) when it is not given.
    type: path
  context:
    description:
      - The kubeconfig's context to use, in place of its current one.
      - Read from E(K8S_AUTH_CONTEXT) when it is not given.
    type: str
requirements:
  - python >= 3.11
  - kubernetes >= 37
"""
