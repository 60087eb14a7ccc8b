"""The program behind the browser's extension: signs challenges of websites with the card here.

Start reading at `host`. It speaks native messaging, the protocol of the official Web eID
extension, and asks for the PIN in a window of its own; no page and no extension ever sees it.
"""
