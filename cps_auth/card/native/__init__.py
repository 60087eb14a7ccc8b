"""Drives a CPS over PC/SC without vendor middleware: ISO 7816, PKCS#15, one driver a model."""
