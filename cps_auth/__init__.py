"""CPS cards as a login: read the card, judge its certificate, prove the holder."""
