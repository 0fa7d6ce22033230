"""The one place where parts are chosen and put together."""

import importlib
import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from perdure.agents import Agents, load_agents
from perdure.alerts import CostAlerts
from perdure.api.limits import RateLimiter
from perdure.documents.port import Documents
from perdure.documents.sqlite import SqliteDocuments
from perdure.identity.api_keys import ApiKeys
from perdure.models.embeddings import Embeddings, HashingEmbeddings
from perdure.models.guarded import GuardedEmbeddings
from perdure.models.port import Model
from perdure.models.throttle import ThrottledModel
from perdure.prices import Prices
from perdure.redaction import SILENT, RedactorError, content_log, load_redactor, redact_logs
from perdure.retention import ttl
from perdure.settings import Settings, SettingsError
from perdure.stores.active import ActiveTasks
from perdure.stores.approvals import ApprovalStore
from perdure.stores.breakers import Breakers
from perdure.stores.embedding_space import EmbeddingSpace
from perdure.stores.erasures import ErasureStore
from perdure.stores.facts import FactStore
from perdure.stores.ingestion import IngestionStore
from perdure.stores.keys import KeyStore
from perdure.stores.memories import MemoryStore
from perdure.stores.model_rates import ModelRates
from perdure.stores.outbox import OutboxStore
from perdure.stores.rates import RateStore
from perdure.stores.starts import StartStore
from perdure.stores.tasks import TaskStore
from perdure.stores.threads import ThreadStore
from perdure.stores.tool_cache import ToolCache
from perdure.stores.usage import UsageStore
from perdure.stores.user_data import UserData
from perdure.tools.registry import ToolRegistry, discover

if TYPE_CHECKING:
    from perdure.identity.tokens import Tokens
    from perdure.models.openai_client import OpenAISettings

LONGEST_STREAM = 600.0
"""Seconds that a model may take to write one reply. A longer one is paid as if it were as long as it may be."""

TOOLS_PACKAGE = "activities.tools"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything an activity or a trigger works with."""

    settings: Settings
    documents: Documents
    tasks: TaskStore
    threads: ThreadStore
    approvals: ApprovalStore
    starts: StartStore
    active: ActiveTasks
    usage: UsageStore
    alerts: CostAlerts
    prices: Prices
    user_data: UserData
    erasures: ErasureStore
    keys: KeyStore
    api_keys: ApiKeys
    tokens: "Tokens | None"
    limiter: RateLimiter
    memories: MemoryStore
    tool_cache: ToolCache
    breakers: Breakers
    ingestion: IngestionStore
    facts: FactStore
    outbox: OutboxStore
    model: Model
    agents: Agents
    tools: ToolRegistry


@cache
def tools() -> ToolRegistry:
    """Find the tools of this app."""
    return discover(importlib.import_module(TOOLS_PACKAGE))


@cache
def definitions() -> tuple[Settings, Agents]:
    """Read settings and agent files.

    Raises:
        SettingsError, AgentError: One of them is wrong.
    """
    settings = Settings.from_env(os.environ)
    return settings, load_agents(settings.agents_dir, settings.default_agent, tools())


def guard_logs(settings: Settings) -> None:
    """Have every line of log redacted, and content logged only where the settings say so.

    Raises:
        SettingsError: The redactor cannot be found.
    """
    try:
        redact_logs(load_redactor(settings.redactor))
    except RedactorError as error:
        raise SettingsError(f"PERDURE_REDACTOR: {error}") from error
    content_log.setLevel(logging.NOTSET if settings.log_content else SILENT)


@cache
def start_telemetry() -> None:
    """Begin to export, if the settings say where to, at the first use of the app. That it cannot be stops nothing."""
    settings, _ = definitions()
    if settings.telemetry:
        try:
            from perdure.telemetry import exporters

            exporters.start(settings.telemetry)
        except Exception:
            logger.exception("Telemetry is not exported")


@cache
def services() -> Services:
    """Build the services of this process at their first use: starting the app opens no file and no connection."""
    settings, agents = definitions()
    start_telemetry()
    return build(settings, agents, tools(), open_documents(settings))


def build(settings: Settings, agents: Agents, tools: ToolRegistry, documents: Documents) -> Services:
    """Put services together over a store."""
    breakers = Breakers(documents)
    space = EmbeddingSpace(documents, _guarded(_embeddings(settings), breakers))
    usage = _usage(settings, documents)
    keys = KeyStore(documents)
    return Services(
        settings=settings,
        documents=documents,
        tasks=TaskStore(documents, ttl(settings.retention.tasks)),
        approvals=ApprovalStore(documents, ttl(settings.retention.tasks)),
        threads=ThreadStore(documents, ttl(settings.retention.threads)),
        keys=keys,
        api_keys=ApiKeys(keys, settings.admin_key),
        tokens=_tokens(settings),
        limiter=RateLimiter(RateStore(documents), settings.limits),
        starts=StartStore(documents),
        active=ActiveTasks(documents, settings.allowances),
        usage=usage,
        alerts=CostAlerts(usage, settings.alerts),
        prices=Prices(settings),
        user_data=UserData(documents),
        erasures=ErasureStore(documents),
        memories=MemoryStore(documents, space),
        ingestion=IngestionStore(documents, space, ttl(settings.retention.memories)),
        facts=FactStore(documents, space, ttl(settings.retention.memories)),
        outbox=OutboxStore(documents, ttl(settings.retention.outbox)),
        tool_cache=ToolCache(documents),
        breakers=breakers,
        model=_within_limits(_model(settings), settings, documents),
        agents=agents,
        tools=tools,
    )


def open_documents(settings: Settings) -> Documents:
    """Choose the store. Cosmos DB is connected to at its first use."""
    if settings.state != "cosmos":
        return SqliteDocuments(settings.state_path)
    from perdure.documents.cosmos import CosmosDocuments
    from perdure.documents.cosmos_account import CosmosSettings

    endpoint = settings.cosmos_endpoint or ""
    return CosmosDocuments(
        CosmosSettings(
            endpoint=endpoint,
            database=settings.cosmos_database,
            key=settings.cosmos_key,
            dimensions=_embeddings(settings).dimensions,
            # In the cloud the database and its containers come with the deployment; an emulator starts empty.
            create=endpoint.startswith("http://"),
        )
    )


def _tokens(settings: Settings) -> "Tokens | None":
    if not settings.issuers:
        return None
    from perdure.identity.tokens import Tokens

    return Tokens(settings.issuers)


def _model(settings: Settings) -> Model:
    if not settings.has_model:
        from perdure.models.offline import OfflineModel

        return OfflineModel()
    from perdure.models.openai import OpenAIModel

    return OpenAIModel(_endpoint(settings))


def _usage(settings: Settings, documents: Documents) -> UsageStore:
    # A stream may go on for longer than its time-out, which is for a silence.
    patience = settings.model_timeout + LONGEST_STREAM
    most = settings.allowances
    return UsageStore(documents, most.user_day, most.tenant_month, patience)


def _within_limits(model: Model, settings: Settings, documents: Documents) -> Model:
    most = settings.allowances
    if not (most.model_requests or most.model_tokens):
        return model
    return ThrottledModel(model, ModelRates(documents), most.model_requests, most.model_tokens)


def _embeddings(settings: Settings) -> Embeddings:
    if settings.embedding_model is None:
        return HashingEmbeddings()
    from perdure.models.openai_embeddings import OpenAIEmbeddings

    return OpenAIEmbeddings(_endpoint(settings), settings.embedding_model, settings.embedding_dimensions)


def _guarded(embeddings: Embeddings, breakers: Breakers) -> Embeddings:
    # Hashing asks nobody, so nobody can be down.
    return embeddings if isinstance(embeddings, HashingEmbeddings) else GuardedEmbeddings(embeddings, breakers)


def _endpoint(settings: Settings) -> "OpenAISettings":
    from perdure.models.openai_client import OpenAISettings

    azure = settings.azure_openai_endpoint is not None
    return OpenAISettings(
        base_url=settings.openai_base_url,
        api_key=settings.azure_openai_api_key if azure else settings.openai_api_key,
        azure_endpoint=settings.azure_openai_endpoint,
        azure_api_version=settings.azure_openai_api_version,
        timeout=settings.model_timeout,
    )
