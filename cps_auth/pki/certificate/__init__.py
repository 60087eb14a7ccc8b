"""The certificate: parsed, repaired where real cards break the letter, its holder and purpose."""
