"""Tokens made and explained."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from gateway.configuration import load
from gateway.domain.principal import Action, Principal
from gateway.signing import make_verifier
from tests.unit.cli.running import SECRET, refusal, run
from tests.unit.core.tokens.forging import ec_key, private_pem


def verified(result: Result, **settings: Any) -> Principal:
    assert (result.exit_code, result.stderr) == (0, "")
    (token,) = result.stdout.splitlines()
    return make_verifier(load(jwt_secret=SECRET, **settings)).verify(token)


def test_a_printed_token_verifies() -> None:
    principal = verified(run("token", "--sub", "alice", jwt_secret=SECRET))
    assert principal.subject == "alice"
    assert (principal.roles, principal.grants) == (frozenset(), {})
    assert principal.expires_at - principal.issued_at == 3600


def test_roles_patterns_and_a_lifetime_may_be_given() -> None:
    arguments = ["--sub", "alice", "--role", "publisher", "--role", "reader", "--ttl", "60"]
    arguments += ["--publish", "news.*", "--publish", "chat", "--subscribe", "*"]
    principal = verified(run("token", *arguments, jwt_secret=SECRET))
    assert principal.roles == {"publisher", "reader"}
    assert principal.grants == {
        Action.PUBLISH: ("news.*", "chat"),
        Action.SUBSCRIBE: ("*",),
    }
    assert principal.expires_at - principal.issued_at == 60


def test_a_token_follows_the_settings() -> None:
    changes = {"jwt_kid": "k9", "jwt_algorithm": "HS512", "jwt_issuer": "me", "jwt_audience": "it"}
    result = run("token", "--sub", "alice", jwt_secret=SECRET, **changes)
    assert verified(result, **changes).subject == "alice"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--ttl", "86401"], "a token lives 1 to 86400 seconds"),
        (["--ttl", "0"], "a token lives 1 to 86400 seconds"),
        (["--ttl", "-1"], "a token lives 1 to 86400 seconds"),
        (["--publish", "a b"], "grants are not lists of channel patterns"),
        (["--role", ""], "role is neither a name nor a list"),
        (["--sub", ""], "no usable sub"),
        (["--sub", "a\nb"], "no usable sub"),
        ([f"--subscribe={'x' * 150}{n}" for n in range(50)], "at most 4096 bytes"),
    ],
    ids=["too long", "none", "negative", "pattern", "role", "nobody", "line feed", "too many"],
)
def test_a_token_that_the_gateway_would_refuse_is_not_printed(
    arguments: list[str], told: str
) -> None:
    result = run("token", "--sub", "alice", *arguments, jwt_secret=SECRET)
    assert told in refusal(result)
    assert SECRET not in result.stderr


def test_without_a_secret_there_is_no_token() -> None:
    assert "GATEWAY_JWT_SECRET is not set here" in refusal(run("token", "--sub", "alice"))


def test_a_token_may_be_signed_with_a_private_key(tmp_path: Path) -> None:
    settings = with_private_key(tmp_path)
    result = run("token", "--sub", "alice", **settings)
    assert make_verifier(load(**settings)).verify(result.stdout.strip()).subject == "alice"


def test_a_private_key_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    settings = {"jwt_private_key_file": str(tmp_path / "key.pem"), "jwt_algorithm": "ES256"}
    assert "GATEWAY_JWT_PRIVATE_KEY_FILE: " in refusal(run("token", "--sub", "alice", **settings))


# gateway explain.


def made(*arguments: str, **settings: str) -> str:
    settings.setdefault("jwt_secret", SECRET)
    return run("token", "--sub", "alice", *arguments, **settings).stdout.strip()


def explained(*arguments: str, code: int = 0, stdin: str | None = None, **settings: str) -> Any:
    settings.setdefault("jwt_secret", SECRET)
    result = run("explain", *arguments, "--json", stdin=stdin, **settings)
    assert result.exit_code == code
    return json.loads(result.stdout)


def step(explanation: Any, name: str) -> str:
    (detail,) = [each["detail"] for each in explanation["steps"] if each["step"] == name]
    return str(detail)


def test_an_accepted_token_is_explained_line_by_line() -> None:
    result = run("explain", made("--role", "publisher"), "news", jwt_secret=SECRET)
    assert result.exit_code == 0
    *steps, verdict = result.stdout.splitlines()
    assert [line.split()[1] for line in steps] == ["ok"] * len(steps)
    assert verdict.startswith("the token is accepted; may subscribe; may publish; may see ")


def test_a_token_of_another_secret_is_refused_with_the_step_that_said_no() -> None:
    explanation = explained(made(jwt_secret="x" + SECRET), code=1)
    assert not explanation["accepted"]
    assert explanation["steps"][-1]["step"] == "signature"


@pytest.mark.parametrize(
    ("channel", "code"),
    [("news.sport", 0), ("chat", 1), ("user:bob", 1), ("a channel", 1)],
    ids=["granted", "elsewhere", "another's", "no channel"],
)
def test_the_exit_code_is_about_subscribing(channel: str, code: int) -> None:
    token = made("--subscribe", "news.*")
    assert explained(token, channel, code=code)["accepted"]


def test_who_may_not_publish_may_still_subscribe() -> None:
    allowed = explained(made(), "chat")["allowed"]
    assert (allowed["publish"], allowed["subscribe"]) == (False, True)


def test_a_token_on_stdin_stays_out_of_the_history() -> None:
    assert explained("-", stdin=made() + "\n")["accepted"]
    assert "one line" in refusal(run("explain", "-", stdin="a\nb", jwt_secret=SECRET), 1)


def test_the_token_itself_is_never_printed() -> None:
    token = made()
    result = run("explain", token, "news", jwt_secret=SECRET)
    signature = token.rpartition(".")[2]
    assert signature not in result.output


def test_the_key_of_the_gateway_is_needed() -> None:
    told = refusal(run("explain", made(), redis_url="redis://127.0.0.1:1/0"))
    assert "GATEWAY_JWT_SECRET" in told


def test_a_token_of_another_issuer_is_verified_with_its_keys(tmp_path: Path) -> None:
    theirs = {**with_private_key(tmp_path), "jwt_issuer": "https://theirs.example"}
    token = run("token", "--sub", "alice", **theirs).stdout.strip()
    (tmp_path / "jwks.json").write_text(json.dumps(make_verifier(load(**theirs)).jwks()))
    issuer = {
        "issuer": "https://theirs.example",
        "audience": "gateway",
        "algorithms": ["ES256"],
        "jwks_file": str(tmp_path / "jwks.json"),
    }
    assert explained(token, jwt_issuers=json.dumps([issuer]))["accepted"]
    (tmp_path / "jwks.json").write_text("none")
    refused = run("explain", token, jwt_secret=SECRET, jwt_issuers=json.dumps([issuer]))
    assert refused.exit_code == 1
    assert "gateway: the keys of https://theirs.example cannot be fetched" in refused.stderr


def with_private_key(directory: Path) -> dict[str, Any]:
    path = directory / "key.pem"
    path.write_bytes(private_pem(ec_key()))
    return {"jwt_private_key_file": str(path), "jwt_algorithm": "ES256"}


# What has been revoked.


def test_without_a_database_it_says_that_revocations_are_not_looked_up(tmp_path: Path) -> None:
    result = run("explain", made(), jwt_secret=SECRET)
    assert result.exit_code == 0
    assert "revocations in the database are not looked up: there is no file" in result.stderr
    assert "not looked up here" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_revoked_token_is_refused_and_says_why() -> None:
    token = made()
    run("users", "logout", "alice")
    explanation = explained(token, code=1)
    assert step(explanation, "revocation") == "the token has been revoked: admin"


def test_another_users_token_is_not_revoked() -> None:
    run("users", "logout", "bob")
    result = run("explain", made(), jwt_secret=SECRET)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "not revoked" in result.stdout


def test_an_empty_database_file_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").touch()
    result = run("explain", made(), jwt_secret=SECRET)
    assert "its tables are missing or old" in result.stderr
    assert run("db", "status").exit_code == 1


def test_who_cannot_be_asked_is_named() -> None:
    token = made()
    run("users", "logout", "alice")
    away = {"jwt_secret": SECRET, "redis_url": "redis://127.0.0.1:1/0"}
    result = run("explain", token, **away)
    assert result.exit_code == 1
    assert "has been revoked: admin" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("gateway: revocations in Redis are not looked up: Redis did not answer")
