"""A runtime for the Operator SDK's watches.yaml: runs a playbook for each change of a Kubernetes resource.

The package is general: it knows the resources only through the watches file, and Ansible only through
``ansible-runner``.
"""

__version__ = "0.1.0"
