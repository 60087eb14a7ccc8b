"""Proves the holder: challenge, proof, and the numbered steps of a login."""
