"""The Flask login backend."""
