"""The native-messaging host: a browser's extension asks, a card in this computer signs.

A program of its own, started by the browser. It serves Web eID's official extension and ours; the
PIN is asked for in a window of its own (`pin_window`), and never goes near the browser.
"""
