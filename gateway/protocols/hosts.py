"""Under which names the gateway answers, by the Host header of a request."""

from collections.abc import Iterable

WRONG_HOST = "host: this gateway does not answer under this name"


class Hosts:
    """Names that a request may use; a name without its port, ``*.NAME`` for all below it.

    An empty list allows every name. With one, a page that makes its own name point at our address
    (DNS rebinding) is not taken for a page of ours.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        given = [name.lower() for name in names]
        self._exact = frozenset(name for name in given if not name.startswith("*."))
        self._endings = tuple(name[1:] for name in given if name.startswith("*."))
        self.is_any = not given

    def __contains__(self, host: object) -> bool:
        """``host`` is the header as it came, with a port or without, "" where there is none."""
        if self.is_any:
            return True
        name = name_of(str(host))
        return name in self._exact or (bool(self._endings) and name.endswith(self._endings))


def name_of(host: str) -> str:
    """The name in a Host header: lower case, without its port and without the dot of the root."""
    name = host.strip().lower()
    if not name.endswith("]"):  # an IPv6 address without a port
        before, colon, port = name.rpartition(":")
        name = before if colon and port.isdecimal() else name
    return name.removesuffix(".")
