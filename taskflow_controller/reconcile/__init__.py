"""From an event to a run to a status: what is due for a resource, and what came of it."""
