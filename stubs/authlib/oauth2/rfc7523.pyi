from collections.abc import Mapping

from joserfc.jwk import ECKey, RSAKey

def private_key_jwt_sign(
    private_key: RSAKey | ECKey,
    client_id: str,
    token_endpoint: str,
    alg: str = "RS256",
    claims: Mapping[str, object] | None = None,
) -> str: ...
