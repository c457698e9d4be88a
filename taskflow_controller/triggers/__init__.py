"""Decides what starts a run: predicates, owners, and the kinds that playbooks turn out to use."""
