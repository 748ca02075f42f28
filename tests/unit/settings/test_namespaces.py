"""What the settings say of namespaces, and what is said of them where they are wrong."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.configuration import ConfigurationError, describe_namespaces, load
from gateway.domain.namespaces import PUBLISH_ROLES, Anyone, Namespace, RecoveryMode, SlowConsumer
from gateway.settings import NamespaceSettings, Settings

pytestmark = pytest.mark.usefixtures("no_settings")

DOCUMENT = Path(__file__).parents[3] / "docs" / "channels.md"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "gateway.toml"
    monkeypatch.setenv("GATEWAY_CONFIG", str(path))
    return path


def mistakes(config: Path, text: str) -> list[str]:
    config.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        load()
    assert str(error.value) == "; ".join(error.value.mistakes)
    return error.value.mistakes


def test_what_a_namespace_does_not_say_is_as_everywhere(config: Path) -> None:
    config.write_text(
        'slow_consumer = "drop_oldest"\nhistory_messages = 7\nsee_history_roles = "staff"\n'
        '[namespaces.chat]\nhistory_seconds = 9\nsubscribe = ["member"]\npublish = "any"\n'
        "[namespaces.plain]\n"
    )
    agreed = load().make_namespaces()
    everywhere = Namespace(
        slow_consumer=SlowConsumer.DROP_OLDEST,
        history_length=7,
        see_history=frozenset({"staff"}),
    )
    assert agreed.of("news") == agreed.of("other:x") == agreed.of("plain:x") == everywhere
    assert agreed.of("chat:x") == everywhere._replace(
        history_seconds=9, subscribe=frozenset({"member"}), publish=Anyone.ANY
    )
    assert not agreed.refuses("other:x")


def test_without_settings_everything_is_as_the_domain_has_it() -> None:
    assert load().make_namespaces().default == Namespace()


@pytest.mark.parametrize("name", ["publish", "subscribe", "see_presence", "see_history"])
@pytest.mark.parametrize(
    ("value", "who"),
    [
        ("any", Anyone.ANY),
        ("grant", Anyone.GRANT),
        ("nobody", Anyone.NOBODY),
        ("staff, boss", frozenset({"staff", "boss"})),
        ("everyone", frozenset({"everyone"})),
        ("", frozenset()),
    ],
)
def test_who_may_everywhere_is_written_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, who: object
) -> None:
    monkeypatch.setenv(f"GATEWAY_{name.upper()}_ROLES", value)
    assert getattr(load().make_namespaces().default, name) == who
    monkeypatch.setenv(f"GATEWAY_{name.upper()}_ROLES", "any,staff")
    with pytest.raises(ConfigurationError, match="each stands alone"):
        load()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('publish = "everyone"', "publish: a list of roles, or one of any, grant, nobody"),
        ("publish = []", "publish: a list of roles names one at least; nobody is written nobody"),
        ('publish = ["any", "x"]', "publish: any, grant, nobody are no roles; each stands alone"),
        ("publish = [1]", "publish: Input should be a valid string"),
        ("publish = 1", "publish: Input should be a valid list"),
        ('history_seconds = "long"', "history_seconds: Input should be a valid integer"),
        ("history_messages = -1", "history_messages: Input should be greater than or equal to 0"),
        ('slow_consumer = "wait"', "slow_consumer: Input should be 'disconnect', 'drop_oldest' or"),
        ("histroy_messages = 1", "histroy_messages: no such setting; did you mean history_message"),
        ("xyzzy = 1", "xyzzy: no such setting; there are slow_consumer, history_messages, "),
    ],
)
def test_a_mistake_in_a_section_is_told_with_its_place(config: Path, line: str, told: str) -> None:
    (mistake,) = mistakes(config, f"[namespaces.Chat]\n{line}\n")
    assert mistake.startswith(f"GATEWAY_NAMESPACES: [namespaces.Chat] {told}")


@pytest.mark.parametrize("name", ['"a b"', '"a:b"', '""', '"ä"'])
def test_a_name_that_no_channel_can_have_is_refused(config: Path, name: str) -> None:
    (mistake,) = mistakes(config, f"[namespaces.{name}]\n")
    assert "is no name of a namespace" in mistake


def test_a_value_in_place_of_a_section_is_refused(config: Path) -> None:
    (mistake,) = mistakes(config, "[namespaces]\nchat = 1\n")
    assert mistake == "GATEWAY_NAMESPACES: [namespaces.chat] is a section, not a value"


def test_every_mistake_has_a_line_of_its_own(config: Path) -> None:
    text = 'prot = 1\nunknown_namespaces = "no"\n[namespaces.a]\npublish = []\nx = 1\n'
    assert len(mistakes(config, text)) == 4


def test_differences_do_not_go_where_messages_are_skipped(config: Path) -> None:
    text = '[namespaces.a]\ndelta = "fossil"\nslow_consumer = "latest_only"\n'
    (line,) = mistakes(config, text)
    assert line.startswith("[namespaces.a] delta does not go with latest_only")


def test_rules_that_do_not_go_together_are_all_named(config: Path) -> None:
    told = mistakes(
        config,
        "position_seconds = 600\n"
        "[namespaces.a]\nhistory_seconds = 601\n"
        '[namespaces.b]\njoin_leave = true\npresence = false\nslow_consumer = "latest_only"\n',
    )
    assert [line.split(":")[0] for line in told] == [
        "[namespaces.a] position_seconds is at least every history_seconds",
        "[namespaces.b] join_leave needs presence, which says who comes and goes",
        "[namespaces.b] join_leave does not go with latest_only",
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("force_recovery = true\nhistory_messages = 0", "force_recovery needs history_messages"),
        ("force_positioning = true\nhistory_messages = 0", "force_positioning needs history_mess"),
        ("force_positioning = false", "force_recovery needs force_positioning"),
        (
            'force_recovery_mode = "cache"\nhistory_messages = 0',
            "force_recovery_mode = cache needs history_messages",
        ),
        ("auto_cache_recover = true", "auto_cache_recover needs force_recovery_mode = cache"),
        ("force_push_join_leave = true", "force_push_join_leave needs join_leave"),
    ],
)
def test_what_clients_are_promised_has_to_be_possible(config: Path, lines: str, told: str) -> None:
    (line,) = mistakes(config, f"[namespaces.a]\n{lines}\n")
    assert line.startswith(f"[namespaces.a] {told}")


def test_what_holds_everywhere_promises_nothing_to_a_namespace_without(config: Path) -> None:
    config.write_text(
        "force_recovery = true\nforce_positioning = true\nforce_push_join_leave = true\n"
        "[namespaces.a]\nhistory_messages = 0\n"
        '[namespaces.b]\nforce_recovery_mode = "cache"\nauto_cache_recover = true\n'
    )
    agreed = load().make_namespaces()
    assert agreed.of("b:x").force_recovery_mode is RecoveryMode.CACHE
    assert agreed.of("b:x").auto_cache_recover


def test_what_is_wrong_everywhere_is_told_once(config: Path) -> None:
    text = "history_seconds = 601\nposition_seconds = 600\n[namespaces.a]\n[namespaces.b]\n"
    assert len(mistakes(config, text)) == 1


def test_what_holds_is_shown_in_a_table(config: Path) -> None:
    config.write_text(
        'unknown_namespaces = "refuse"\npublish_roles = ""\n'
        '[namespaces.b]\njoin_leave = true\nsubscribe = ["y", "x"]\nhistory_messages = 0\n'
        '[namespaces.a]\npresence = false\npublish = "grant"\nslow_consumer = "latest_only"\n'
    )
    head, *rows = describe_namespaces(load())
    assert {len(row) for row in rows} == {len(head)}
    assert rows == [
        ["(default)", "100 for 300 s", "disconnect", "on", "any", "nobody", "any", "any"],
        ["a", "100 for 300 s", "latest_only", "off", "any", "grant", "any", "any"],
        ["b", "none", "disconnect", "with notices", "x, y", "nobody", "any", "any"],
        ["(others)", "refused", *[""] * 6],
    ]


# The document.


def example() -> str:
    (found,) = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(found)


def test_the_example_of_the_document_is_right(config: Path) -> None:
    config.write_text(example())
    agreed = load().make_namespaces()
    assert agreed.refuses("other:x")
    assert agreed.of("chat:x").see_history == frozenset({"member", "admin"})
    assert agreed.of("prices:x").slow_consumer is SlowConsumer.LATEST_ONLY
    assert agreed.of("orders:x").subscribe is Anyone.GRANT
    assert agreed.of("orders:x").publish == PUBLISH_ROLES


def test_the_table_of_the_document_names_every_setting_and_its_default() -> None:
    section = DOCUMENT.read_text().split("\n## ")[2]
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`|the same) \| (.*?) \|", section, re.MULTILINE)
    assert {name for name, _, _ in rows} == {*NamespaceSettings.model_fields}
    for name, everywhere, default in rows:
        assert default_of(Settings, everywhere or name) == default.replace("`", "")


def default_of(model: type[BaseModel], name: str) -> str:
    value: Any = model.model_fields[name].default
    if isinstance(value, list):
        return ", ".join(value)
    return str(value).lower()
