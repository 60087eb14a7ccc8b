"""A release by one command: `./dev release VERSION [--dry-run]`. Nothing of it is installed."""
