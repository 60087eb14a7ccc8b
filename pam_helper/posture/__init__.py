"""`cps-auth posture`: the six measures asked of a practice, as far as this PC can tell of them.

Source: the practitioners' guide of the CNIL and the Conseil national de l'Ordre des médecins, as
it is commonly summed up; its text was not at hand.
"""
