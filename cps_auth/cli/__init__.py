"""The `cps-auth` command line: one module a command, and what the commands share."""
