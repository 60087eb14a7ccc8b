"""Cryptography of the virtual cards."""
