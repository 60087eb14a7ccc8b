"""Contents of the virtual cards: file system, PKCS#15 objects, one module a model."""
