"""The card itself: bytes in, bytes out. Knows no reader, no socket and no thread."""
