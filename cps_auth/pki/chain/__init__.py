"""The chain: trust store, pins, path validation, and why a path does not hold."""
