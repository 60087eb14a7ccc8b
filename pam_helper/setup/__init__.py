"""Setup of a PC: installation, PAM profile, the trial of a PAM stack, the check."""
