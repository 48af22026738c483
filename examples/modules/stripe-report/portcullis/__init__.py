"""What a module is made of: requests through the host's gate, errors, log lines, and a gate for tests."""
