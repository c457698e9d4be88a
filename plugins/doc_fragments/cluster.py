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
  host:
    description:
      - The API server's URL. With it, no kubeconfig is looked for unless O(kubeconfig) or O(context) is given.
      - This option and the ones below have the names that they have in C(kubernetes.core), and win over a kubeconfig.
      - Read from E(K8S_AUTH_HOST) when it is not given.
    type: str
  api_key:
    description:
      - A bearer token, such as a ServiceAccount's.
      - Read from E(K8S_AUTH_API_KEY) when it is not given.
    type: str
  ca_cert:
    description:
      - A file of certificates (PEM) by which the API server is trusted.
      - Read from E(K8S_AUTH_SSL_CA_CERT) when it is not given.
    type: path
  validate_certs:
    description:
      - Whether the API server has to show a certificate that is trusted.
      - Read from E(K8S_AUTH_VERIFY_SSL) when it is not given.
    type: bool
  client_cert:
    description:
      - A file with a client certificate (PEM).
      - Read from E(K8S_AUTH_CERT_FILE) when it is not given.
    type: path
  client_key:
    description:
      - A file with the key (PEM) of O(client_cert).
      - Read from E(K8S_AUTH_KEY_FILE) when it is not given.
    type: path
requirements:
  - python >= 3.11
  - kubernetes >= 37
"""
