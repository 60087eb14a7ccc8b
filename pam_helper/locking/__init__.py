"""Locking: sessions bound to cards, lockers, logind, desktop events."""
