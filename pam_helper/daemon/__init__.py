"""The card daemon: socket, protocol, decisions, systemd."""
