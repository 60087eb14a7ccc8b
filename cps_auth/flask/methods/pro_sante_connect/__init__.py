"""The login method Pro Santé Connect: card or e-CPS, on any computer or phone."""
