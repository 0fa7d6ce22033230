"""The function app: which blueprints it is made of, and nothing else."""

import azure.durable_functions as df
import azure.functions as func

from activities import finish_task, ingestion, join_thread, look_at_approvals, model_step, settle_calls, tool_call
from orchestrators import agent_task, ingest_documents
from perdure.bootstrap import definitions, guard_logs
from triggers import (
    approvals,
    catalogue,
    documentation,
    keys,
    management,
    memory,
    privacy,
    retention,
    start_task,
    task_events,
    tasks,
    threads,
    usage,
)

# A wrong setting or agent file stops the start here, with its reason, and not the first task that meets it.
settings, _ = definitions()
guard_logs(settings)

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(start_task.bp)
app.register_functions(tasks.bp)
app.register_functions(task_events.bp)
app.register_functions(approvals.bp)
app.register_functions(threads.bp)
app.register_functions(memory.bp)
app.register_functions(usage.bp)
app.register_functions(keys.bp)
app.register_functions(management.bp)
app.register_functions(catalogue.bp)
app.register_functions(documentation.bp)
app.register_functions(privacy.bp)
app.register_functions(retention.bp)
app.register_functions(agent_task.bp)
app.register_functions(join_thread.bp)
app.register_functions(model_step.bp)
app.register_functions(tool_call.bp)
app.register_functions(settle_calls.bp)
app.register_functions(look_at_approvals.bp)
app.register_functions(finish_task.bp)
app.register_functions(ingest_documents.bp)
app.register_functions(ingestion.bp)
