"""The audit journal: who logged in, was refused, locked and unlocked, with which evidence."""
