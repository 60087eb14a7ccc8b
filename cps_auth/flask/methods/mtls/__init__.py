"""Login by a TLS client certificate that a reverse proxy has verified."""
