"""Where one Redis process is, and how to log in there."""

import ssl
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A host and port, or the path of a socket; with ``tls``, the server has to prove itself."""

    host: str
    port: int
    path: str
    username: str
    password: str
    database: int
    tls: ssl.SSLContext | None

    def at(self, host: str, port: int) -> "Address":
        """Another node of the same set: one login and one kind of TLS is for all of them."""
        return replace(self, host=host, port=port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"

    __repr__ = __str__
