"""host.json and local.settings.json, parsed.

Defaults are Azure's own: https://learn.microsoft.com/azure/azure-functions/functions-host-json and
https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-bindings#host-json.
"""

import json
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from devhost.errors import ConfigError

Json = Mapping[str, Any]

_PER_CORE = 10 * (os.cpu_count() or 1)
DEFAULT_TASK_HUB = "TestHubName"
DEFAULT_STATE = ".devhost"


@dataclass(frozen=True)
class DurableTaskConfig:
    """``extensions.durableTask`` of host.json."""

    hub_name: str = DEFAULT_TASK_HUB
    max_concurrent_activities: int = _PER_CORE
    max_concurrent_orchestrators: int = _PER_CORE
    max_concurrent_entities: int = _PER_CORE
    reuse_unfinished_ids: bool = False


@dataclass(frozen=True)
class CorsConfig:
    """``Host`` of local.settings.json: which pages of other origins may call the app from a browser."""

    origins: tuple[str, ...] = ()
    credentials: bool = False


@dataclass(frozen=True)
class HostConfig:
    """What this host uses of host.json."""

    route_prefix: str
    durable_task: DurableTaskConfig
    log_levels: Mapping[str, str]
    """Category to level, as in ``logging.logLevel``; the category ``default`` stands for all others."""


def app_folder(argument: str) -> Path:
    """The folder of an app, in full.

    Raises:
        ConfigError: There is none.
    """
    app_dir = Path(argument).resolve()
    if not app_dir.is_dir():
        raise ConfigError(f"no such folder: {app_dir}")
    return app_dir


def state_folder(app_dir: Path, argument: str | None) -> Path:
    """The folder that keeps the task hub of an app; by default, one in the app's own."""
    return Path(argument).resolve() if argument is not None else app_dir / DEFAULT_STATE


def load_host_config(app_dir: Path) -> HostConfig:
    """Reads ``host.json`` of an app.

    Raises:
        ConfigError: It is missing, is not JSON, or a setting has a value of the wrong type.
    """
    path = app_dir / "host.json"
    if not path.is_file():
        raise ConfigError(f"no host.json in {app_dir}: is this a function app? (python -m devhost APP_DIR)")
    document = _read(path)
    http = _section(path, document, "extensions", "http")
    durable = _section(path, document, "extensions", "durableTask")
    levels = _section(path, document, "logging", "logLevel")

    def quota(setting: str) -> int:
        value = durable.get(setting, _PER_CORE)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(
                f"{path}: extensions.durableTask.{setting} must be a positive whole number, not {value!r}"
            )
        return value

    return HostConfig(
        route_prefix=_text(path, http, "routePrefix", "api").strip("/"),
        durable_task=DurableTaskConfig(
            hub_name=_resolve(_text(path, durable, "hubName", DEFAULT_TASK_HUB)),
            max_concurrent_activities=quota("maxConcurrentActivityFunctions"),
            max_concurrent_orchestrators=quota("maxConcurrentOrchestratorFunctions"),
            max_concurrent_entities=quota("maxConcurrentEntityFunctions"),
            reuse_unfinished_ids=durable.get("overridableExistingInstanceStates") == "AnyState",
        ),
        log_levels={category: _text(path, levels, category, "") for category in levels},
    )


def apply_local_settings(app_dir: Path, environment: MutableMapping[str, str]) -> None:
    """Adds the ``Values`` of ``local.settings.json`` to the environment; what is set there already wins.

    Raises:
        ConfigError: The file is not JSON, or a value is not plain.
    """
    path = app_dir / "local.settings.json"
    if not path.is_file():
        return
    document = _read(path)
    if document.get("IsEncrypted"):
        raise ConfigError(f"{path}: encrypted settings cannot be read here; decrypt the file (func settings decrypt)")
    for name, value in _section(path, document, "Values").items():
        if isinstance(value, dict | list):
            raise ConfigError(f"{path}: Values.{name} must be a text, a number or a boolean")
        if value is None:
            continue
        try:
            environment.setdefault(name, value if isinstance(value, str) else json.dumps(value))
        except (ValueError, OSError) as error:
            raise ConfigError(f"{path}: Values.{name!r} cannot be an environment variable: {error}") from error


def load_cors(app_dir: Path) -> CorsConfig:
    """Reads ``Host.CORS`` (origins, separated by commas, or ``*``) and ``Host.CORSCredentials``.

    Raises:
        ConfigError: The file is not JSON, or a setting has a value of the wrong type.
    """
    path = app_dir / "local.settings.json"
    if not path.is_file():
        return CorsConfig()
    host = _section(path, _read(path), "Host")
    origins = tuple(origin.strip().rstrip("/") for origin in _text(path, host, "CORS", "").split(",") if origin.strip())
    credentials = host.get("CORSCredentials", False)
    if not isinstance(credentials, bool):
        raise ConfigError(f"{path}: Host.CORSCredentials must be true or false, not {credentials!r}")
    if credentials and "*" in origins:
        raise ConfigError(f"{path}: Host.CORSCredentials needs origins by name in Host.CORS, not *")
    return CorsConfig(origins, credentials)


def _read(path: Path) -> Json:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a UTF-8 text file") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}:1: must hold a JSON object")
    return cast("Json", document)


def _section(path: Path, document: Json, *keys: str) -> Json:
    section: Any = document
    for depth, key in enumerate(keys, start=1):
        section = section.get(key, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{path}: {'.'.join(keys[:depth])} must be an object")
    return cast("Json", section)


def _text(path: Path, section: Json, key: str, default: str) -> str:
    value = section.get(key, default)
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {key} must be a text, not {value!r}")
    return value


def _resolve(value: str) -> str:
    """Replaces ``%NAME%`` by the app setting of that name."""
    if len(value) > 2 and value.startswith("%") and value.endswith("%"):
        return os.environ.get(value[1:-1], value)
    return value
