from collections.abc import Callable

_Prepared = tuple[str, dict[str, str], str]

class ClientAuth:
    def __init__(
        self,
        client_id: str,
        client_secret: str | None,
        auth_method: str
        | Callable[[ClientAuth, str, str, dict[str, str], str], _Prepared]
        | None = None,
    ) -> None: ...
    def prepare(self, method: str, uri: str, headers: dict[str, str], body: str) -> _Prepared: ...
