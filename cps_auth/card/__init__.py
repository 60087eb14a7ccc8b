"""Reads the card: the port, ISO 7816, the native and the PKCS#11 drivers, the watcher."""
