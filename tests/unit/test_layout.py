"""Every module has its tests in the mirrored place, or says here where else it is tested."""

from pathlib import Path

import gateway

ROOT = Path(gateway.__file__).parent
TESTS = Path(__file__).parent

ELSEWHERE = {
    "__main__": "unit/cli/test_serving.py starts it",
    "adapters": "contracts, integration/redis and integration/sql",
    "app": "integration/web",
    "composition": "integration",
    "bench": "integration/test_bench.py, and what is pure in unit/bench",
    "cli/channels": "integration/test_client_commands.py",
    "cli/listen": "integration/test_client_commands.py",
    "cli/publish": "integration/test_client_commands.py",
    "cli/remote": "integration/test_client_commands.py",
    "cli/smoke": "integration/test_client_commands.py",
    "configuration": "unit/test_settings.py",
    "core/centrifuge": "integration/centrifuge, and what time does in unit/core/centrifuge",
    "core/delivery": "unit/core/test_hub.py",
    "core/server_api/methods": "integration/api",
    "core/server_api/nodes": "integration/api",
    "core/server_api/publishing": "integration/api",
    "core/server_api/refusals": "integration/api",
    "core/subscriber": "nothing but declarations",
    "core/publishing": "unit/core/test_hub.py",
    "domain/errors": "nothing but declarations",
    "measures": "integration/web/test_metrics.py and integration/test_monitoring.py",
    "outside": "integration",
    "ports": "contracts",
    "protocols/centrifuge/codec": "nothing but declarations",
    "protocols/centrifuge/commands": "nothing but declarations",
    "protocols/centrifuge/reading": "unit/protocols/centrifuge, by way of each spelling",
    "protocols/centrifuge/results": "unit/protocols/centrifuge/test_json.py",
    "protocols/centrifuge/schema": "unit/protocols/centrifuge/test_protobuf.py",
    "protocols/server_api/answers": "integration/api",
    "protocols/server_api/requests": "nothing but declarations",
    "replica": "integration",
    "server": "integration and e2e",
    "serving": "integration/test_drain.py and integration/test_accepting.py",
    "settings": "unit/test_settings.py and unit/test_key_settings.py",
    "signing": "unit/test_key_settings.py",
    "sockets": "integration/sockets, integration/centrifuge and integration/asyncapi",
    "web": "integration/web",
}


def covered_elsewhere(module: str) -> bool:
    return any(module == name or module.startswith(name + "/") for name in ELSEWHERE)


def test_every_module_has_a_test_file_or_a_place_where_it_is_tested() -> None:
    modules = [path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py")]
    missing = [
        module.as_posix()
        for module in modules
        if module.name != "__init__" and not covered_elsewhere(module.as_posix())
        if not (TESTS / module.parent / f"test_{module.name}.py").is_file()
    ]
    assert missing == []


def test_the_list_names_only_what_exists() -> None:
    there = [name for name in ELSEWHERE if [*ROOT.glob(name), *ROOT.glob(f"{name}.py")]]
    assert there == [*ELSEWHERE]


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in TESTS.parent.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
