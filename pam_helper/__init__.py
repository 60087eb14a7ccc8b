"""The cabinet PC: the card daemon, the PAM side and the screen lock."""
