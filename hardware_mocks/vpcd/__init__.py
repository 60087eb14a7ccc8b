"""Virtual cards behind the real pcscd, through vsmartcard-vpcd."""
