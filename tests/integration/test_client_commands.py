"""`gateway listen`, `publish`, `channels` and `smoke` against gateways that run."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import make_certificate
from tests.support.clients import call, make_token, publish_now
from tests.support.servers import (
    GatewayProcess,
    Process,
    RedisServer,
    free_port,
    gateway_environment,
    replicas,
    wait_until,
)

PUBLISHER = make_token("alice", "publisher")
SECONDS = 20


def environment(gateway: GatewayProcess | None, token: str = PUBLISHER) -> dict[str, str]:
    """What a user of the commands sets: where and as whom, and nothing of the gateway's own."""
    env = gateway_environment(token=token, url=gateway.http if gateway else None)
    return {name: value for name, value in env.items() if name != "GATEWAY_JWT_SECRET"}


def run(
    gateway: GatewayProcess | None, *arguments: str, token: str = PUBLISHER, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(gateway, token),
        timeout=SECONDS,
    )


class Listening:
    """`gateway listen` in the background."""

    def __init__(
        self, directory: Path, gateway: GatewayProcess, *arguments: str, token: str = PUBLISHER
    ) -> None:
        self._output, self._notices = directory / "output", directory / "notices"
        with self._output.open("wb") as output, self._notices.open("wb") as notices:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "listen", *arguments],
                stdout=output,
                stderr=notices,
                env=environment(gateway, token),
            )

    @property
    def lines(self) -> list[str]:
        return self._output.read_text().splitlines()

    @property
    def data(self) -> list[Any]:
        return [json.loads(line)["data"] for line in self.lines]

    @property
    def notices(self) -> str:
        return self._notices.read_text()

    def wait_live(self, channels: int = 1) -> None:
        wait_until(lambda: self.notices.count("caught_up") >= channels, "it listens", SECONDS)

    def ended(self) -> int:
        return self.process.wait(SECONDS)

    def __enter__(self) -> "Listening":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """One that no other test uses."""
    return str(request.node.name).translate(str.maketrans("[]-", "..."))[:100]


def test_messages_are_lines_and_notices_are_elsewhere(
    gateway: GatewayProcess, directory: Path, channel: str
) -> None:
    with Listening(directory, gateway, channel, "--count", "2") as listening:
        listening.wait_live()
        publish_now(gateway.http, channel, "two\nlines", PUBLISHER)
        publish_now(gateway.http, channel, {"n": 1}, PUBLISHER)
        assert listening.ended() == 0
        first, second = (json.loads(line) for line in listening.lines)
    assert list(first) == ["channel", "data", "offset", "epoch", "id", "user", "time"]
    assert (first["data"], second["data"], second["offset"]) == ("two\nlines", {"n": 1}, 2)
    place = f"channel={channel} epoch= offset=0"
    assert listening.notices == f"gateway: {channel}: caught_up {place}\n"


@pytest.mark.parametrize(
    ("format", "lines"),
    [("text", ["[{}.a] one", '[{}.b] {{"n": 1}}']), ("raw", ["one", '{"n": 1}'])],
)
def test_several_channels_in_one_listing(
    gateway: GatewayProcess, directory: Path, channel: str, format: str, lines: list[str]
) -> None:
    names = [f"{channel}.a", f"{channel}.b"]
    with Listening(directory, gateway, *names, "--format", format, "--count", "2") as listening:
        listening.wait_live(2)
        publish_now(gateway.http, names[0], "one", PUBLISHER)
        wait_until(lambda: len(listening.lines) == 1, "the first message", SECONDS)
        publish_now(gateway.http, names[1], {"n": 1}, PUBLISHER)
        assert listening.ended() == 0
    expected = lines if format == "raw" else [line.format(channel) for line in lines]
    assert listening.lines == expected


def test_listening_begins_after_a_message(
    gateway: GatewayProcess, directory: Path, channel: str
) -> None:
    receipts = [publish_now(gateway.http, channel, n, PUBLISHER).json for n in range(4)]
    since = f"{receipts[1]['epoch']}:{receipts[1]['offset']}"
    done = run(gateway, "listen", channel, "--since", since, "--count", "2", "--format", "raw")
    assert (done.returncode, done.stdout) == (0, "2\n3\n")


@pytest.mark.long
def test_a_listener_comes_back_and_misses_nothing(
    redis_server: RedisServer, directory: Path, channel: str
) -> None:
    """It has not even heard one message when its replica dies for the first time."""
    settings = {"redis_url": redis_server.url, "redis_prefix": "listen"}
    with replicas(directory, 2, **settings) as (one, other):
        with Listening(directory, one, channel) as listening:
            listening.wait_live()
            for n in range(2):
                one.kill()
                publish_now(other.http, channel, f"missed {n}", PUBLISHER)
                Process.start(one)
                wait_until(lambda n=n: len(listening.lines) > 2 * n, "what was missed", 40)
                publish_now(other.http, channel, f"live {n}", PUBLISHER)
                wait_until(lambda n=n: len(listening.lines) > 2 * n + 1, "what follows", SECONDS)
            listening.process.send_signal(signal.SIGINT)
            assert listening.ended() == 130
        assert listening.data == ["missed 0", "live 0", "missed 1", "live 1"]
        assert "reconnecting" in listening.notices


def test_who_is_logged_out_listens_no_more(
    gateway: GatewayProcess, directory: Path, channel: str
) -> None:
    token = make_token("bob")
    with Listening(directory, gateway, channel, "--json", token=token) as listening:
        listening.wait_live()
        assert call(gateway.http + "/logout", token=token, method="POST").status == 200
        assert listening.ended() == 1
    notice, refusal = listening.notices.splitlines()
    assert json.loads(notice)["type"] == "caught_up"
    assert "1008: the token has been revoked" in refusal


def test_a_code_of_another_server_says_whether_to_come_back(
    gateway: GatewayProcess, directory: Path, channel: str
) -> None:
    def disconnect(code: int) -> None:
        order = {"user": channel, "disconnect": {"code": code, "reason": "enough"}}
        admin = make_token("root", "admin")
        assert call(f"{gateway.http}/api/disconnect", token=admin, json_body=order).status == 200

    with Listening(directory, gateway, channel, token=make_token(channel)) as listening:
        listening.wait_live()
        disconnect(4001)
        wait_until(lambda: listening.notices.count("caught_up") == 2, "it comes back", SECONDS)
        disconnect(4501)
        assert listening.ended() == 1
    assert "closed with 4501: enough" in listening.notices.splitlines()[-1]


def test_a_fresh_token_in_the_file_is_taken_when_the_old_one_ends(
    gateway: GatewayProcess, directory: Path, channel: str
) -> None:
    file = directory / "token"
    old, fresh = make_token("carl"), make_token("carl")
    file.write_text(old)
    with Listening(directory, gateway, channel, "--token-file", str(file), token="") as listening:
        listening.wait_live()
        file.write_text(fresh + "\n")
        assert call(gateway.http + "/logout", token=old, method="POST").status == 200
        listening.wait_live(2)
        publish_now(gateway.http, channel, "still here", PUBLISHER)
        wait_until(lambda: listening.data == ["still here"], "the message", SECONDS)


def test_a_reader_that_goes_away_ends_it_quietly(gateway: GatewayProcess, channel: str) -> None:
    publish_now(gateway.http, channel, "first", PUBLISHER)
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "listen", channel, "--since", ":0", "--format", "raw"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(gateway),
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"first\n"
            process.stdout.close()
            publish_now(gateway.http, channel, "nobody reads this", PUBLISHER)
            assert process.wait(SECONDS) == 0
            assert b"Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_a_message_does_not_command_the_terminal(gateway: GatewayProcess, channel: str) -> None:
    publish_now(gateway.http, channel, "\x1b[2Jhi", PUBLISHER)
    options = ["--since", ":0", "--format", "raw", "--count", "1"]
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "gateway", "listen", channel, *options],
            stdout=theirs,
            env=environment(gateway),
            check=True,
            timeout=SECONDS,
        )
        assert os.read(ours, 1000) == b"\\x1b[2Jhi\r\n"
    finally:
        os.close(ours)
        os.close(theirs)


def test_publishing_text_json_and_stdin(gateway: GatewayProcess, channel: str) -> None:
    as_text = run(gateway, "publish", channel, "[1]")
    assert as_text.stdout.startswith(f"{channel}: offset 1 of epoch ")
    run(gateway, "publish", channel, "[1]", "--json-data")
    run(gateway, "publish", channel, stdin="a line\n")
    receipt = run(gateway, "publish", channel, "-", "--json-data", "--json", stdin='{"n": 1}\n')
    assert json.loads(receipt.stdout)["offset"] == 4
    kept = call(f"{gateway.http}/channels/{channel}/history", token=PUBLISHER).json["messages"]
    assert [message["data"] for message in kept] == ["[1]", [1], "a line", {"n": 1}]


def test_with_a_key_a_repetition_publishes_nothing_new(
    gateway: GatewayProcess, channel: str
) -> None:
    printed = {run(gateway, "publish", channel, "once", "--key", "k1").stdout for _ in range(2)}
    assert len(printed) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["publish", "room", "x"], 1, "403 role: "),
        (["publish", "room", "{", "--json-data"], 1, "the message is not JSON"),
        (["publish", "no/channel", "x"], 1, "422 "),
        (["channels"], 1, "403 role: this needs the role admin"),
        (["listen", "user:root"], 1, "personal: "),
        (["listen", "room", "--since", "x"], 1, "a position is EPOCH:OFFSET"),
        (["listen", "room", "hall", "--since", ":0"], 2, "--since is a position in one channel"),
        (["channels", "--url", "room"], 2, "a URL is written like"),
        (["channels", "--url", "http://u:p@127.0.0.1"], 2, "a URL is written like"),
        (["channels", "--token-file", "no-such-file"], 1, "No such file"),
        (["smoke", "http://127.0.0.1", "--user", "bob"], 2, "belong together"),
        (["smoke", "http://127.0.0.1", "--token", ""], 2, "--no-publish"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_told_with_its_exit_code(
    gateway: GatewayProcess, arguments: list[str], code: int, told: str
) -> None:
    done = run(gateway, *arguments, token=make_token("bob"))
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["listen", "room"], ["publish", "room", "x"], ["channels"]])
def test_without_a_token_they_say_where_one_comes_from(
    gateway: GatewayProcess, command: list[str]
) -> None:
    done = run(gateway, *command, token="")
    assert done.returncode == 2
    assert "'gateway token' makes one" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    "command", [["listen", "room"], ["publish", "room", "x"], ["channels"]], ids=" ".join
)
def test_a_gateway_that_is_not_there_is_told_in_one_line(command: list[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run(None, *command, "--url", url)
    assert done.returncode == 69
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"gateway: {url} cannot be reached: ")


def test_an_answer_of_somebody_else_is_no_receipt(directory: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with Process(command, directory / "files.log") as files:
        files.wait_ready(lambda: call_is_answered(port), "http.server")
        done = run(None, "channels", "--url", f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    assert "404" in done.stderr


def call_is_answered(port: int) -> bool:
    try:
        return call(f"http://127.0.0.1:{port}/").status == 200
    except OSError:
        return False


def test_channels_are_listed_with_their_listeners(
    gateway: GatewayProcess, directory: Path, channel: str
) -> None:
    admin = make_token("root", "admin")
    with Listening(directory, gateway, channel) as listening:
        listening.wait_live()
        table = run(gateway, "channels", token=admin).stdout.splitlines()
        listed = json.loads(run(gateway, "channels", "--json", token=admin).stdout)
    assert table[0].split() == ["CHANNEL", "MEMBERS", "CONNECTIONS"]
    assert [channel, "1", "1"] in [line.split() for line in table]
    assert {"channel": channel, "members": 1, "connections": 1} in listed


STEPS = ["ready", "register", "log in", "subscribe", "publish", "receive"]
STEPS += ["refresh", "log out", "socket closed", "token refused"]


def test_a_walk_through_a_gateway_sees_every_step(gateway: GatewayProcess) -> None:
    done = run(gateway, "smoke", gateway.http, "--json")
    seen = json.loads(done.stdout)
    assert (done.returncode, seen["ok"], seen["url"]) == (0, True, gateway.http)
    assert [one["step"] for one in seen["steps"]] == STEPS
    assert {one["ok"] for one in seen["steps"]} == {True}
    saw = {one["step"]: one["saw"] for one in seen["steps"]}
    assert saw["receive"] == "it came on the socket, from alice"
    assert saw["socket closed"] == "1008 the token has been revoked: logout"


def test_a_walk_ends_at_the_first_step_that_fails(gateway: GatewayProcess) -> None:
    done = run(gateway, "smoke", gateway.http, token=make_token("bob"))
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert [line.split()[0] for line in lines] == ["ok"] * 4 + ["FAILED"] + ["-"] * 5
    assert "403 role" in lines[4]


def test_a_walk_with_an_account_and_without_publishing(gateway: GatewayProcess) -> None:
    body = {"username": "walker", "password": "correct horse battery"}
    assert call(gateway.http + "/register", json_body=body).status == 201
    walk = ["smoke", gateway.http, "--no-publish", "--user", "walker", "--password-stdin"]
    done = run(gateway, *walk, token="", stdin=body["password"] + "\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[8:21].strip() for line in done.stdout.splitlines()] == [
        step for step in STEPS if step not in ("register", "publish", "receive")
    ]
    assert run(gateway, *walk, token="", stdin="wrong").returncode == 1


def test_a_walk_where_nobody_is(directory: Path) -> None:
    done = run(None, "smoke", f"http://127.0.0.1:{free_port()}", "--no-publish")
    assert done.returncode == 69
    assert done.stdout.startswith("FAILED  ready")


@pytest.fixture
def over_tls(directory: Path) -> Iterator[tuple[GatewayProcess, Path]]:
    certificate, key = make_certificate(directory / "tls")
    gateway = GatewayProcess(directory, tls_cert_file=certificate, tls_key_file=key)
    Process.start(gateway)
    try:
        wait_until(lambda: "https" in gateway.log, "it says where it listens")
        gateway.http = gateway.http.replace("http:", "https:")
        yield gateway, certificate
    finally:
        gateway.__exit__()


def test_certificates_are_verified(over_tls: tuple[GatewayProcess, Path]) -> None:
    gateway, certificate = over_tls
    trusting = ["--ca-file", str(certificate)]
    wait_until(
        lambda: run(gateway, "smoke", gateway.http, *trusting).returncode == 0, "it is ready", 40
    )
    for command in (["smoke", gateway.http], ["publish", "room", "x"], ["listen", "room"]):
        done = run(gateway, *command)
        assert done.returncode == 69
        assert "CERTIFICATE_VERIFY_FAILED" in done.stdout + done.stderr
