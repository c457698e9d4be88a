"""The agent's executable for tests."""
