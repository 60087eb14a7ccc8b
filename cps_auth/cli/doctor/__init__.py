"""`cps-auth doctor`: every link from the USB device to the web login, and what to type next."""
