"""Runs a playbook through ansible-runner: the run's input, its course and its result."""
