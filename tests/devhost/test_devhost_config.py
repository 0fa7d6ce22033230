"""host.json and local.settings.json."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from devhost.config import ConfigError, apply_local_settings, load_host_config


def write(folder: Path, name: str, document: Any) -> None:
    (folder / name).write_text(json.dumps(document))


def test_defaults_are_those_of_azure(tmp_path: Path) -> None:
    write(tmp_path, "host.json", {"version": "2.0"})
    config = load_host_config(tmp_path)
    assert config.route_prefix == "api"
    assert config.durable_task.hub_name == "TestHubName"
    assert config.durable_task.max_concurrent_activities == 10 * (os.cpu_count() or 1)


def test_settings_of_host_json_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB", "FromSetting")
    durable = {"hubName": "%HUB%", "maxConcurrentActivityFunctions": 3, "maxConcurrentOrchestratorFunctions": 4}
    write(tmp_path, "host.json", {"extensions": {"http": {"routePrefix": "/v1/"}, "durableTask": durable}})
    config = load_host_config(tmp_path)
    assert config.route_prefix == "v1"
    assert config.durable_task.hub_name == "FromSetting"
    assert config.durable_task.max_concurrent_activities == 3
    assert config.durable_task.max_concurrent_orchestrators == 4


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"extensions": []},
        {"extensions": {"http": {"routePrefix": 7}}},
        {"extensions": {"durableTask": {"maxConcurrentActivityFunctions": 0}}},
        {"extensions": {"durableTask": {"maxConcurrentActivityFunctions": "3"}}},
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused(tmp_path: Path, document: Any) -> None:
    write(tmp_path, "host.json", document)
    with pytest.raises(ConfigError, match=r"host\.json"):
        load_host_config(tmp_path)


def test_local_settings_join_the_environment_and_do_not_win(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.json", {"Values": {"A": "file", "B": "file", "N": 3, "T": True}})
    environment = {"A": "real"}
    apply_local_settings(tmp_path, environment)
    assert environment == {"A": "real", "B": "file", "N": "3", "T": "true"}


def test_a_missing_local_settings_file_is_fine(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    apply_local_settings(tmp_path, environment)
    assert environment == {}


def test_encrypted_local_settings_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.json", {"IsEncrypted": True, "Values": {}})
    with pytest.raises(ConfigError, match="encrypted"):
        apply_local_settings(tmp_path, {})


@pytest.mark.parametrize("values", [{"A": "x\0y"}, {"A=B": "x"}, {"": "x"}, {"A": "\ud800"}])
def test_what_cannot_be_an_environment_variable_is_told_by_its_name(tmp_path: Path, values: dict[str, str]) -> None:
    write(tmp_path, "local.settings.json", {"Values": values})
    with pytest.raises(ConfigError, match=r"local\.settings\.json: Values\."):
        apply_local_settings(tmp_path, os.environ)


def test_a_setting_that_is_null_is_not_set(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.json", {"Values": {"A": None, "B": 1}})
    environment: dict[str, str] = {}
    apply_local_settings(tmp_path, environment)
    assert environment == {"B": "1"}


def test_a_file_that_is_nested_too_deeply_is_told(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_host_config(tmp_path)
