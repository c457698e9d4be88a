"""One run of a playbook through ansible-runner: what it gets, how it goes, what it says."""
