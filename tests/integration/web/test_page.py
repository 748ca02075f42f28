"""The page at /: who gets it, with which headers, and whose code it runs."""

import hashlib
import re
from pathlib import Path

import pytest

import gateway.web
from tests.support.clients import call
from tests.support.servers import GatewayProcess

STATIC = Path(gateway.web.__file__).parent / "static"
VENDOR = STATIC / "vendor"
FILES = [
    path.relative_to(STATIC).as_posix()
    for path in STATIC.rglob("*")
    if path.suffix in (".js", ".css", ".svg")
]


@pytest.mark.parametrize(("path", "script"), [("/", "app"), ("/admin", "admin")])
def test_it_is_served_with_everything_that_it_needs(
    gateway: GatewayProcess, path: str, script: str
) -> None:
    page = call(gateway.http + path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert f"page/{script}.js" in named
    assert "page/vendor/centrifuge.js" in named
    for name in {*named, *(f"page/{name}" for name in FILES)}:
        # Relative, so that the page also works where somebody mounts us below a path.
        assert re.fullmatch(r"page/[a-z/]+\.[a-z]+", name)
        assert call(f"{gateway.http}/{name}").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/admin", "/page/app.js", "/page/style.css", "/page/icon.svg"]
)
def test_nothing_but_our_own_files_runs_beside_a_token(gateway: GatewayProcess, path: str) -> None:
    """S38"""
    headers = call(gateway.http + path).headers
    policy = dict(
        rule.partition(" ")[::2] for rule in headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_nothing_is_written_into_the_page_as_markup_or_kept_for_long() -> None:
    """S38: the policy would stop it, and so would whoever reads this."""
    for path in (*STATIC.glob("*.js"), *STATIC.glob("admin/*.js")):
        code = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in code, (path.name, word)
        assert "localStorage" not in code, path.name
    for path in STATIC.glob("*.html"):
        html = path.read_text()
        assert not re.search(r"<style|style=|\son[a-z]+=|<script[^>]*>[^<]", html), path.name


def test_a_file_that_has_not_changed_is_not_sent_again(gateway: GatewayProcess) -> None:
    url = gateway.http + "/page/app.js"
    tag = call(url).headers["etag"]
    answer = call(url, headers={"If-None-Match": tag})
    assert (answer.status, answer.body) == (304, b"")
    assert call(url, headers={"If-None-Match": '"another"'}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/page/",
            "/page/nothing.js",
            "/page/index.html",
            "/page/admin.html",
            "/page/vendor/README.md",
        ),
        *("/page/../page.py", "/page/%2e%2e/page.py", "/page//etc/passwd"),
    ],
)
def test_only_those_files_are_served(gateway: GatewayProcess, path: str) -> None:
    assert call(gateway.http + path).status == 404


@pytest.mark.long
def test_production_has_it_on_request_alone(directory: Path) -> None:
    with GatewayProcess(directory, env="production") as process:
        assert call(process.http + "/").status == 404
        assert call(process.http + "/page/app.js").status == 404
    with GatewayProcess(directory, env="production", page=True, registration=False) as process:
        html = call(process.http + "/").body
        assert b'data-demo="no" data-registration="no"' in html


def test_it_can_be_turned_off(directory: Path) -> None:
    with GatewayProcess(directory, page=False) as process:
        assert call(process.http + "/").status == 404


def test_the_ways_in_are_those_that_there_are(directory: Path) -> None:
    with GatewayProcess(directory, demo=True) as process:
        assert b'data-demo="yes" data-registration="yes"' in call(process.http + "/").body


def test_the_client_is_the_one_that_is_written_down() -> None:
    readme = (VENDOR / "README.md").read_text()
    content = (VENDOR / "centrifuge.js").read_bytes()
    assert f"| sha256 | `{hashlib.sha256(content).hexdigest()}` |" in readme
    assert "MIT License" in (VENDOR / "LICENSE").read_text()
