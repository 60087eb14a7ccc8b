"""Cards through a vendor's PKCS#11 module, which lives in a child process."""
