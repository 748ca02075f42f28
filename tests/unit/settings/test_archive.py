"""What the settings say of the archive."""

from pathlib import Path

import pytest

from gateway.configuration import ConfigurationError, load
from gateway.domain.namespaces import Namespaces

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "gateway.toml"
    monkeypatch.setenv("GATEWAY_CONFIG", str(path))
    return path


def agreed(config: Path, text: str) -> Namespaces:
    config.write_text(text)
    return load().make_namespaces()


def test_nothing_is_archived_unless_somebody_says_so(config: Path) -> None:
    namespaces = agreed(config, "[namespaces.chat]\n")
    assert not namespaces.has_archive
    assert not namespaces.of("chat:a").archive


def test_a_namespace_says_whether_and_for_how_long(config: Path) -> None:
    namespaces = agreed(
        config,
        "archive_days = 30\n[namespaces.chat]\narchive = true\n"
        "[namespaces.orders]\narchive = true\narchive_days = 0\n",
    )
    assert namespaces.has_archive
    assert not namespaces.of("room").archive
    assert (namespaces.of("chat:a").archive, namespaces.of("chat:a").archive_days) == (True, 30)
    assert namespaces.of("orders:a").archive_days == 0


def test_what_is_not_kept_for_a_moment_cannot_be_archived(config: Path) -> None:
    for text in (
        "archive = true\nhistory_messages = 0\n",
        "archive = true\n[namespaces.chat]\nhistory_messages = 0\n",
        "history_messages = 0\n[namespaces.chat]\narchive = true\n",
    ):
        with pytest.raises(ConfigurationError, match="archive needs history_messages"):
            agreed(config, text)


@pytest.mark.parametrize(
    "wrong",
    [
        "archive_days = -1",
        "archive_interval_seconds = 0",
        "archive_batch_messages = 0",
        "archive_batch_messages = 10001",
    ],
)
def test_a_number_that_makes_no_sense_is_refused(config: Path, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong.partition(" ")[0].upper()):
        agreed(config, wrong)
