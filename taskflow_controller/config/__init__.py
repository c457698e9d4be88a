"""What the controller is told: watches.yaml, the playbooks it names, and what a resource's annotations override."""
