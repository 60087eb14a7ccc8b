"""Hostile bytes: what the suite draws with Hypothesis, and a recorded campaign with atheris."""
