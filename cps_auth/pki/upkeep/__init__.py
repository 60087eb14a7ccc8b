"""Upkeep of authorities and CRLs: fetch, update, status."""
