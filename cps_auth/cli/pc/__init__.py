"""`cps-auth pc`: the commands that make a computer a practice's PC, for root."""
