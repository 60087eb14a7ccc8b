"""A small practice application that uses the CPS as its login."""
