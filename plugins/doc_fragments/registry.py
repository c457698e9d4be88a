# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules share which look images up."""

from __future__ import annotations


class ModuleDocFragment:
    """How what an image runs is found at its registry."""

    DOCUMENTATION = r"""
options:
  registry_mirrors:
    description:
      - URLs to ask for a registry's images before the registry itself, such as the nodes' mirrors.
      - Each is written as C(REGISTRY=URL). A registry may have several, which are asked in this order.
      - Read from E(TASKFLOW_REGISTRY_MIRRORS) when it is not given, separated by commas.
    type: list
    elements: str
  registry_ca:
    description:
      - A file of certificates (PEM) that registries are trusted by, beside the public ones.
      - Read from E(TASKFLOW_REGISTRY_CA) when it is not given.
    type: path
  image_cache_dir:
    description:
      - A directory to keep in what images run, by their digests. Nothing is kept without it.
      - Read from E(TASKFLOW_IMAGE_CACHE) when it is not given.
    type: path
  architecture:
    description:
      - Whose ENTRYPOINT is read where an image is there for several, such as V(amd64) or V(arm64).
      - The default is the architecture of the machine that runs the module.
    type: str
requirements:
  - python-dxf >= 12
"""
