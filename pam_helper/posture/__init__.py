"""`cps-auth posture`: the six measures asked of a practice, as far as this PC can tell of them.

Source: CNIL and Conseil national de l'Ordre des médecins, "Guide pratique sur la protection des
données personnelles" (2018), fiche on security; CNIL, "Guide de la sécurité des données
personnelles"; ANSSI, recommendations on passwords.
"""
