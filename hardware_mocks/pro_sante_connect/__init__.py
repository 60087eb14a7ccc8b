"""A stand-in Pro Santé Connect: oidc-provider (npm) with the personas as its users."""
