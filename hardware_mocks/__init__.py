"""For developers without a card: a virtual CPS, a virtual reader, a fake IGC-Santé."""
