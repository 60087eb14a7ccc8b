"""Pro Santé Connect (ANS) as an OpenID Connect client of it sees it; no web framework here."""
