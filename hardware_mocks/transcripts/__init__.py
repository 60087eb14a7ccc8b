"""Transcripts of APDU exchanges, and the cards that replay them."""
