"""Settings, all from environment variables. On a laptop the host fills those from local.settings.json."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from perdure.alert_settings import AlertSettings, AlertSettingsError
from perdure.allowances import AllowanceError, Allowances
from perdure.identity.issuers import Issuer, parse_issuers
from perdure.retention import Retention, RetentionError
from perdure.telemetry.settings import Telemetry, TelemetryError

ROOT = Path(__file__).resolve().parent.parent
"""The app's own folder; relative paths in settings start here."""


_ADDRESS = re.compile(r"https?://[^\s/]+")

_DATABASE = re.compile(r"[^/\\#?\s]{1,255}")


LIMITS = {"start": 120, "write": 600, "read": 6000}
"""Requests a minute of one user, unless PERDURE_LIMIT_<NAME> says otherwise."""


class SettingsError(Exception):
    """A setting is wrong. The message names it and says what would be right."""


@dataclass(frozen=True)
class Settings:
    """What the app is told from outside.

    Attributes:
        state: `sqlite:<path>`, or `cosmos` for the account below.
        cosmos_endpoint: `https://<account>.documents.azure.com`, or `http://...` for an emulator.
        cosmos_database: Name of the database.
        cosmos_key: None for Microsoft Entra ID; an emulator needs one.
        agents_dir: Folder with the agent files.
        default_agent: The agent that runs when a request names none.
        model: Model or deployment for agents that name none.
        model_timeout: Seconds to wait for a model's answer before its request counts as failed.
        embedding_model: Model or deployment that embeds documents and facts at the model endpoint; None for feature
            hashing, which needs none.
        embedding_dimensions: Length of that model's vectors.
        openai_api_key: Key for OpenAI or for the endpoint at `openai_base_url`.
        openai_base_url: An OpenAI-compatible endpoint, down to and with `/v1`.
        azure_openai_endpoint: `https://<resource>.openai.azure.com`.
        azure_openai_api_key: None for Microsoft Entra ID.
        azure_openai_api_version: None for the adapter's default.
        admin_key: A first API key with the scope `admin`; None for none.
        issuers: Whose tokens are accepted besides API keys.
        public_url: What clients call this deployment when it stands behind a gateway, as in `https://agents.example.com`.
        limits: Requests a minute that a user may send, by the class of the route; 0 for any number.
        allowances: What users, tenants and model deployments may use besides.
        stream_text: Whether a model's text can be followed while it is being written.
        log_content: Whether prompts, replies, tool arguments and results are logged.
        redactor: `module:function` that every line of log goes through; None for Perdure's own.
        retention: How long things are kept.
        telemetry: Where traces, metrics and logs go.
        alerts: Whom to tell of unusual costs; None for nobody.
    """

    state: str = "sqlite:.perdure/state.db"
    cosmos_endpoint: str | None = None
    cosmos_database: str = "perdure"
    cosmos_key: str | None = field(default=None, repr=False)
    agents_dir: Path = ROOT / "agents"
    default_agent: str = "assistant"
    model: str = "gpt-5-mini"
    model_timeout: float = 120.0
    embedding_model: str | None = None
    embedding_dimensions: int = 1536
    openai_api_key: str | None = None
    openai_base_url: str | None = None
    azure_openai_endpoint: str | None = None
    azure_openai_api_key: str | None = None
    azure_openai_api_version: str | None = None
    admin_key: str | None = field(default=None, repr=False)
    issuers: tuple[Issuer, ...] = ()
    public_url: str | None = None
    limits: Mapping[str, int] = field(default_factory=lambda: dict(LIMITS))
    allowances: Allowances = field(default_factory=Allowances)
    stream_text: bool = True
    log_content: bool = False
    redactor: str | None = None
    retention: Retention = field(default_factory=Retention)
    telemetry: Telemetry = field(default_factory=Telemetry)
    alerts: AlertSettings | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings. An empty variable counts as absent.

        Raises:
            SettingsError: One of them is wrong.
        """

        def text(name: str) -> str | None:
            return environ.get(name, "").strip() or None

        state = text("PERDURE_STATE") or cls.state
        if state != "cosmos" and not (state.startswith("sqlite:") and state != "sqlite:"):
            raise SettingsError(f"PERDURE_STATE is {state!r}; it must be 'sqlite:<path>' or 'cosmos'")
        if state == "cosmos" and not text("COSMOS_ENDPOINT"):
            raise SettingsError("PERDURE_STATE is 'cosmos', and COSMOS_ENDPOINT does not say which account")
        for name in ("COSMOS_ENDPOINT", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "PERDURE_PUBLIC_URL"):
            if (address := text(name)) and not _is_address(address):
                raise SettingsError(f"{name} is {address!r}; it must start with https:// or http:// and name a host")
        if (database := text("COSMOS_DATABASE")) and not _DATABASE.fullmatch(database):
            raise SettingsError(f"COSMOS_DATABASE is {database!r}; it must be a name without / \\ # ? of at most 255")
        if (key := text("COSMOS_KEY")) and not _is_base64(key):
            raise SettingsError("COSMOS_KEY is no key of an account: those are written in base64")
        has_endpoint = text("OPENAI_API_KEY") or text("OPENAI_BASE_URL") or text("AZURE_OPENAI_ENDPOINT")
        if text("PERDURE_EMBEDDING_MODEL") and not has_endpoint:
            raise SettingsError(
                "PERDURE_EMBEDDING_MODEL is set, but no endpoint that has the model: set OPENAI_API_KEY, "
                "OPENAI_BASE_URL or AZURE_OPENAI_ENDPOINT"
            )
        if text("OPENAI_BASE_URL") and text("AZURE_OPENAI_ENDPOINT"):
            raise SettingsError("OPENAI_BASE_URL and AZURE_OPENAI_ENDPOINT are both set; set the one to use")
        return cls(
            state=state,
            cosmos_endpoint=text("COSMOS_ENDPOINT"),
            cosmos_database=text("COSMOS_DATABASE") or cls.cosmos_database,
            cosmos_key=text("COSMOS_KEY"),
            agents_dir=ROOT / (text("PERDURE_AGENTS_DIR") or "agents"),
            default_agent=text("PERDURE_DEFAULT_AGENT") or cls.default_agent,
            model=text("PERDURE_MODEL") or cls.model,
            model_timeout=_seconds("PERDURE_MODEL_TIMEOUT", text("PERDURE_MODEL_TIMEOUT"), cls.model_timeout),
            embedding_model=text("PERDURE_EMBEDDING_MODEL"),
            embedding_dimensions=_dimensions(text("PERDURE_EMBEDDING_DIMENSIONS"), cls.embedding_dimensions),
            openai_api_key=text("OPENAI_API_KEY"),
            openai_base_url=text("OPENAI_BASE_URL"),
            azure_openai_endpoint=text("AZURE_OPENAI_ENDPOINT"),
            azure_openai_api_key=text("AZURE_OPENAI_API_KEY"),
            azure_openai_api_version=text("AZURE_OPENAI_API_VERSION"),
            admin_key=_admin_key(text("PERDURE_ADMIN_KEY")),
            issuers=_issuers(text("PERDURE_OIDC_ISSUERS")),
            public_url=(text("PERDURE_PUBLIC_URL") or "").rstrip("/") or None,
            limits={name: _limit(environ, name, default) for name, default in LIMITS.items()},
            allowances=_allowances(environ),
            stream_text=_switch("PERDURE_STREAM_TEXT", text("PERDURE_STREAM_TEXT"), cls.stream_text),
            log_content=_switch("PERDURE_LOG_CONTENT", text("PERDURE_LOG_CONTENT"), cls.log_content),
            redactor=text("PERDURE_REDACTOR"),
            retention=_retention(environ),
            telemetry=_telemetry(environ),
            alerts=_alerts(environ),
        )

    @property
    def state_path(self) -> str:
        """The path SQLite opens."""
        return str(ROOT / self.state.removeprefix("sqlite:"))

    @property
    def has_model(self) -> bool:
        """Whether a model endpoint is configured; the offline planner stands in otherwise."""
        return bool(self.openai_api_key or self.openai_base_url or self.azure_openai_endpoint)

    @property
    def provider(self) -> str:
        """Who has the model, by the name that the GenAI conventions have for it."""
        if self.azure_openai_endpoint:
            return "azure.ai.openai"
        return "openai" if self.has_model else "perdure.offline"


def _is_address(text: str) -> bool:
    try:
        return bool(_ADDRESS.match(text) and urlsplit(text).hostname and (urlsplit(text).port or 1))
    except ValueError:
        return False


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def _retention(environ: Mapping[str, str]) -> Retention:
    try:
        return Retention.from_env(environ)
    except RetentionError as error:
        raise SettingsError(str(error)) from error


def _alerts(environ: Mapping[str, str]) -> AlertSettings | None:
    try:
        return AlertSettings.from_env(environ)
    except AlertSettingsError as error:
        raise SettingsError(str(error)) from error


def _telemetry(environ: Mapping[str, str]) -> Telemetry:
    try:
        return Telemetry.from_env(environ)
    except TelemetryError as error:
        raise SettingsError(str(error)) from error


def _allowances(environ: Mapping[str, str]) -> Allowances:
    try:
        return Allowances.from_env(environ)
    except AllowanceError as error:
        raise SettingsError(str(error)) from error


def _admin_key(text: str | None) -> str | None:
    if text is None:
        return None
    if text.startswith("@Microsoft.KeyVault("):
        raise SettingsError(
            "PERDURE_ADMIN_KEY is a Key Vault reference that was not resolved: check the address of the secret and the "
            "app's access to it"
        )
    # Guesswork, for there is no measure of randomness: it stops a word, a sentence and a row of one character.
    if len(text) < 32 or len(set(text)) < 10 or not (text.isascii() and text.isprintable() and " " not in text):
        raise SettingsError(
            "PERDURE_ADMIN_KEY must be at least 32 random ASCII characters without blanks; make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return text


def _issuers(text: str | None) -> tuple[Issuer, ...]:
    if text is None:
        return ()
    try:
        return parse_issuers(text)
    except ValueError as error:
        raise SettingsError(f"PERDURE_OIDC_ISSUERS: {error}; docs/api.md has an example") from error


def _limit(environ: Mapping[str, str], rate: str, default: int) -> int:
    name = f"PERDURE_LIMIT_{rate.upper()}"
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise SettingsError(f"{name} is {text!r}; it must be a whole number of requests a minute, or 0 for any number")
    return int(text)


def _switch(name: str, text: str | None, default: bool) -> bool:
    if text is None:
        return default
    if text.lower() in ("false", "0"):
        return False
    if text.lower() in ("true", "1"):
        return True
    raise SettingsError(f"{name} is {text!r}; it must be true or false")


def _seconds(name: str, text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86400:
        raise SettingsError(f"{name} is {text!r}; it must be a number of seconds above 0 and below 86400")
    return seconds


def _dimensions(text: str | None, default: int) -> int:
    if text is None:
        return default
    # 4,096 is the most that Azure Cosmos DB's vector indexes take.
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= 4096):
        raise SettingsError(f"PERDURE_EMBEDDING_DIMENSIONS is {text!r}; it must be a whole number from 1 to 4096")
    return int(text)
