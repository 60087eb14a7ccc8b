"""Pages of the login: views, rendering, refusals, redirects, language."""
