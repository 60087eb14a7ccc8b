"""Login methods: local reader, Web eID, TLS client certificate."""
