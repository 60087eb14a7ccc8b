"""Stores of sessions, challenges and counters: the ports, SQLite, Redis."""
