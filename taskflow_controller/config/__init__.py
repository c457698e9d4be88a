"""The controller's configuration: watches.yaml, the playbooks it names, and what a resource's annotations override."""
