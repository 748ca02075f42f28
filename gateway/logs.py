"""The log: one line an event, as JSON for programs or readable on a terminal.

Modules log with the standard library; here structlog makes lines of it. Two things hold whatever
is logged. What users chose cannot begin a line or command a terminal. And secrets are taken out: no
module logs one, and this is the net below that.
"""

import contextlib
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[hidden]"

_SECRET_LENGTH_MIN = 8  # a shorter one would be found inside of words
# Most texts have none of these, and looking closer costs ten times as much.
_SUSPICIOUS = re.compile(r"eyJ|://|=|earer|-key", re.IGNORECASE)
_TOKEN = r"eyJ[\w-]{10,}\.[\w-]+(?:\.[\w-]*)?"
_URL_PASSWORD = r"(?<=://)[^\s/@]+(?=@)"
_NAMED = (
    r"(?i:(?<=\btoken=)|(?<=\bticket=)|(?<=\bpassword=)|(?<=\bbearer )|(?<=\bbearer, )"
    r"|(?<=\bx-api-key: ))[^\s&,;\"']+"
)
_HIDE = re.compile("|".join([_TOKEN, _URL_PASSWORD, _NAMED]))


def configure(
    level: str, *, is_json: bool, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Write everything that is logged to this stream, stderr by default.

    ``secrets`` are texts that are hidden wherever they turn up.
    """
    handler = _Handler(stream)
    handler.setFormatter(_formatter(is_json=is_json, secrets=secrets, stream=handler.stream))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.captureWarnings(True)
    # Nobody asks for these, and every line would pay for them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    set_level(level)


def set_level(level: str) -> None:
    """How much our own modules say; others are heard from WARNING on.

    At DEBUG many of them write what they read and send, and with it headers, statements, secrets.
    """
    own = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger("gateway").setLevel(own)
    logging.getLogger().setLevel(max(own, logging.WARNING))


def is_terminal() -> bool:
    return sys.stderr.isatty()


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """Say so without saying what: the inherited one would print everything as it is."""
        error = sys.exc_info()[0]
        with contextlib.suppress(OSError, ValueError):  # the stream itself is gone
            self.stream.write(f"a line of {record.name} could not be logged: {error}\n")


def _formatter(*, is_json: bool, secrets: Iterable[str], stream: TextIO) -> logging.Formatter:
    before: Sequence[Processor] = (
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    after: Sequence[Processor] = (
        ProcessorFormatter.remove_processors_meta,
        _Cleaner(secrets),
        _as_json if is_json else _console(stream),
    )
    return ProcessorFormatter(foreign_pre_chain=before, processors=after)


_OURS = {"timestamp", "level", "logger"}
_HARMLESS = {int, float, bool, type(None)}


class _Cleaner:
    """Hides secrets, makes every value printable, and a traceback text without local variables."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= _SECRET_LENGTH_MIN}
        self._known = sorted(known, key=len, reverse=True)

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        error, stack = event.pop("exc_info", None), event.pop("stack_info", None)
        for key, value in event.items():
            if key not in _OURS and type(value) not in _HARMLESS:
                event[key] = self._clean(str(value))
        if error:
            lines = traceback.format_exception(*(sys.exc_info() if error is True else error))
            event["exception"] = self._clean_lines("".join(lines))
        if stack:
            event["stack"] = self._clean_lines(str(stack))
        return event

    def _clean(self, text: str) -> str:
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        if _SUSPICIOUS.search(text):
            text = _HIDE.sub(HIDDEN, text)
        if text.isprintable():
            return text
        return "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode()
            for letter in text
        )

    def _clean_lines(self, text: str) -> str:
        return "\n".join(self._clean(line) for line in text.rstrip("\n").split("\n"))


_FIRST = ("timestamp", "level", "logger", "event")


def _as_json(logger: WrappedLogger, name: str, event: EventDict) -> str:
    ordered = {key: event.pop(key) for key in _FIRST if key in event}
    # ASCII: to some readers U+2028 ends a line as well.
    return json.dumps({**ordered, **event})


def _console(stream: TextIO) -> Callable[[WrappedLogger, str, EventDict], str]:
    dim, bold, off = ("\x1b[2m", "\x1b[1m", "\x1b[0m") if stream.isatty() else ("", "", "")

    def render(logger: WrappedLogger, name: str, event: EventDict) -> str:
        time, level, where, what = (event.pop(key, "") for key in _FIRST)
        below = [event.pop(key) for key in ("exception", "stack") if key in event]
        words = "".join(f"  {dim}{key}={off}{value}" for key, value in event.items())
        line = f"{dim}{time}{off} {str(level).upper():<7} {dim}{where}{off}  {bold}{what}{off}"
        # Behind a bar: what stands in an error's words must not look like a line of its own.
        bars = [f"\n    | {line}" for text in below for line in str(text).split("\n")]
        return line + words + "".join(bars)

    return render


def secrets_of(values: Iterable[Any]) -> list[str]:
    """The texts that must not be logged, of settings of whatever kind that hold some."""
    found: list[str] = []
    for value in values:
        if hasattr(value, "get_secret_value"):
            text = str(value.get_secret_value())
            found += [text, *re.findall(r"://[^\s/@:]*:([^\s/@]+)@", text)]
        elif isinstance(value, list | tuple):
            found += secrets_of(value)
        elif hasattr(type(value), "model_fields"):
            found += secrets_of(dict(value).values())
    return found
