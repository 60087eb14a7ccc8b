"""Revocation: CRLs, their index and numbers, OCSP, and the policy."""
