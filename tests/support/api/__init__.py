"""API servers for tests, fake ones and a real one."""
