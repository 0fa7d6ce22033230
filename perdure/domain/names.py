"""Names that cross the durable boundary. They live in recorded histories: renaming one breaks tasks in flight."""

AGENT_TASK = "agent_task"
"""The orchestrator that runs one task. Its instance id is the task id."""

INGEST_DOCUMENTS = "ingest_documents"
"""The orchestrator that makes documents searchable. Its instance id is the ingestion id."""

ORCHESTRATORS = (AGENT_TASK, INGEST_DOCUMENTS)

JOIN_THREAD = "join_thread"
MODEL_STEP = "model_step"
SETTLE_CALLS = "settle_calls"
LOOK_AT_APPROVALS = "look_at_approvals"
FINISH_TASK = "finish_task"
SPLIT_DOCUMENT = "split_document"
EMBED_CHUNKS = "embed_chunks"
PUBLISH_DOCUMENT = "publish_document"
DISCARD_DOCUMENT = "discard_document"
ACTIVITIES = (
    JOIN_THREAD, MODEL_STEP, SETTLE_CALLS, LOOK_AT_APPROVALS, FINISH_TASK,
    SPLIT_DOCUMENT, EMBED_CHUNKS, PUBLISH_DOCUMENT, DISCARD_DOCUMENT,
)  # fmt: skip
"""Every activity that is not a tool."""

CANCEL = "cancel"
"""The external event that wakes a task to end it."""

APPROVAL = "approval"
"""The external event that wakes a task that waits for people to decide, when one has."""

TURN = "turn"
"""The external event that wakes a task that waits for its thread, when its turn has come."""


def tool_activity(tool: str) -> str:
    """Name the activity that runs a tool."""
    return f"tool_{tool}"
