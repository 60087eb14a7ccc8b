"""A fake IGC-Santé: authorities, card certificates, CRLs, OCSP."""
