"""What a line of the log looks like, and what never stands in one."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from gateway import logs

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5LXNpZ25hdHVyZQ"
PASSWORD = "canary-password-7531"

logger = logging.getLogger("gateway.tests.logs")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The log of the tests themselves is not for us to change."""
    root, own = logging.getLogger(), logging.getLogger("gateway")
    before = root.handlers[:], root.level, own.level
    flags = logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    logging.getLogger("gateway").setLevel(before[2])
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = flags
    logging.captureWarnings(False)


@pytest.fixture(params=["json", "console"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def written(
    *, form: str = "json", level: str = "debug", secrets: tuple[str, ...] = ()
) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, is_json=form == "json", secrets=secrets, stream=stream)
    return stream


def only_line(stream: io.StringIO) -> str:
    (line,) = stream.getvalue().splitlines()
    return line


def parsed(stream: io.StringIO) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(only_line(stream))
    return line


def test_json_has_when_how_bad_where_and_what_and_then_the_rest() -> None:
    stream = written()
    logger.warning("%d sockets", 3, extra={"code": 1012, "duration_ms": 1.5, "user": None})
    line = parsed(stream)
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["event"]) == ("warning", "3 sockets")
    assert (line["code"], line["duration_ms"], line["user"]) == (1012, 1.5, None)


def test_on_a_console_a_line_is_for_people() -> None:
    stream = written(form="console")
    logger.warning("%d sockets", 3, extra={"code": 1012})
    line = only_line(stream)
    assert "WARNING" in line
    assert "gateway.tests.logs  3 sockets  code=1012" in line
    assert "\x1b" not in line  # this one has no colours


FORGED = "\n2026-01-01T00:00:00Z INFO    gateway  all is well"


@pytest.mark.parametrize(
    "evil", ["\r", "\n", "\x0b", "\x1b[2J", "\x85", "\u2028", "\u2029", "\ud800", FORGED]
)
def test_an_event_is_one_line_whatever_is_in_its_names(form: str, evil: str) -> None:
    """S37"""
    stream = written(form=form)
    logger.info("refused %s", f"a{evil}b", extra={"user": f"c{evil}d", "channel": [evil]})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert len(text.splitlines()) == 1  # which knows more ends of lines than "\n"
    assert text.rstrip("\n").isprintable()


def test_json_is_plain_ascii_whatever_the_alphabet() -> None:
    """S37: to some readers more than a line feed ends a line."""
    stream = written(form="json")
    logger.info("%s", "señal 信号 ☂")
    assert stream.getvalue().isascii()
    assert parsed(stream)["event"] == "señal 信号 ☂"


def test_what_is_harmless_in_any_alphabet_stays_readable_on_a_console() -> None:
    stream = written(form="console")
    logger.info("%s", "señal 信号 ☂")
    assert "señal 信号 ☂" in only_line(stream)


def fail(secret: str) -> None:
    local = secret * 2
    raise ValueError(f"{secret}\nforged {len(local)}")


def test_a_traceback_has_no_local_variables_and_stays_behind_its_line(form: str) -> None:
    """S21, S37"""
    stream = written(form=form)
    try:
        fail("a-local-variable-")
    except ValueError:
        logger.exception("failed")
    text = stream.getvalue()
    assert "ValueError: a-local-variable-" in text
    assert "a-local-variable-a-local-variable-" not in text
    if form == "json":
        assert "in fail" in parsed(stream)["exception"]
    else:
        first, *below = text.splitlines()
        assert first.endswith("failed")
        assert all(line.startswith("    | ") for line in below)


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"GET /ws/room?token={TOKEN}&format=json",
        "GET /ws/room?token=canary-opaque HTTP/1.1",
        "GET /ws/room?ticket=canary-ticket",
        "password=canary-in-a-form&x=1",
        "Authorization: Bearer canary-bearer",
        "Sec-WebSocket-Protocol: bearer, canary-offered",
        "X-API-Key: canary-key",
        f"redis://gateway:{PASSWORD}@10.0.0.1:6379/0 is away",
        f"mariadb://gateway:{PASSWORD}@db/gateway",
        f"the secret is {PASSWORD}!",
    ],
)
def test_what_looks_like_a_secret_or_is_one_of_ours_is_hidden(form: str, text: str) -> None:
    """S21: no module logs one; this is for the day when one does, or a library."""
    stream = written(form=form, secrets=(PASSWORD,))
    logger.debug("%s", text)
    logger.debug("request", extra={"what": text})
    try:
        raise RuntimeError(text)
    except RuntimeError:
        logger.exception("failed")
    for canary in ("canary", PASSWORD, TOKEN, TOKEN.split(".")[1]):
        assert canary not in stream.getvalue()
    assert stream.getvalue().count(logs.HIDDEN) >= 3


def test_of_other_modules_only_warnings_are_heard() -> None:
    """S21: at DEBUG they write headers, frames and statements."""
    stream = written(level="debug")
    others = logging.getLogger("others")
    others.debug("GET / with a header")
    others.info("a statement")
    assert stream.getvalue() == ""
    others.warning("this matters")
    assert parsed(stream)["event"] == "this matters"


@pytest.mark.parametrize(
    ("level", "heard"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
)
def test_the_level_can_change_while_the_gateway_runs(level: str, heard: int) -> None:
    stream = written(level="debug" if level == "error" else "error")
    logs.set_level(level)
    for say in (logger.debug, logger.info, logger.warning, logger.error):
        say("word")
    assert stream.getvalue().count("word") == heard


def test_a_line_that_cannot_be_written_is_not_printed_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """S21: the standard library would print the arguments."""
    stream = written()
    logger.info("%d sockets", PASSWORD)
    assert "a line of gateway.tests.logs could not be logged" in stream.getvalue()
    assert PASSWORD not in stream.getvalue() + capsys.readouterr().err


def test_secrets_are_found_in_settings_of_every_form() -> None:
    url = f"redis://gateway:{PASSWORD}@10.0.0.1:6379/0"
    found = logs.secrets_of(
        [SecretStr("one"), [SecretStr("two")], "public", 3, SecretStr(url), None]
    )
    assert found == ["one", "two", url, PASSWORD]
