"""What starts a run: predicates, owners, and the kinds that plays turn out to use."""
