"""A runtime for the Operator SDK's watches.yaml: runs a playbook for each change of a Kubernetes resource.

The package is generic: it learns about the resources only from the watches file, and drives Ansible only through
``ansible-runner``.
"""

__version__ = "0.1.0"
