"""Accounts: who may open which, enrolment, one-time codes."""
