"""Checks on a request before anything is done for it: origin, CSRF, rate, headers."""
