"""Names of attributes.

Those of the GenAI conventions are written down here because the package of names, opentelemetry-semantic-conventions,
only has them as deprecated since they moved to a repository of their own. A test holds ours against what it has.
https://github.com/open-telemetry/semantic-conventions-genai
"""

OPERATION = "gen_ai.operation.name"
CHAT, EXECUTE_TOOL, INVOKE_AGENT = "chat", "execute_tool", "invoke_agent"

PROVIDER = "gen_ai.provider.name"
AGENT = "gen_ai.agent.name"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"
TOOL = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"

ERROR = "error.type"
METHOD = "http.request.method"
ROUTE = "http.route"
STATUS_CODE = "http.response.status_code"

TENANT = "perdure.tenant"
TASK = "perdure.task.id"
STATUS = "perdure.task.status"
REASON = "perdure.task.reason"
STEP = "perdure.step"
STEPS = "perdure.steps"
CALL_INDEX = "perdure.call.index"
CALL_STATE = "perdure.call.state"
COST = "perdure.cost.usd"
BREAKER = "perdure.breaker"
