"""Judges the certificate: identity, anchors, chain, purpose, revocation."""
