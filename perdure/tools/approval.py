"""When a person must agree to a call of a tool: `never`, `always`, or when an expression over its arguments is true.

An expression is harmless Python: comparisons, arithmetic, `in`, comprehensions, methods of strings, and the functions
below, as in `amount > 100 or not to.endswith("@example.com")`. The names in it are the tool's parameters.
"""

import ast
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

NEVER, ALWAYS = "never", "always"

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "all": all, "any": any, "float": float, "int": int, "len": len, "max": max, "min": min, "str": str, "sum": sum,
}  # fmt: skip
"""What an expression may call, besides methods of strings."""

MAX_LENGTH = 1000
"""Most characters of an expression. One that is longer belongs into the tool."""

logger = logging.getLogger(__name__)


def check_policy(policy: object, parameters: Iterable[str]) -> None:
    """Check that a policy can be decided on. Raises ValueError, which says what is wrong with it."""
    if policy in (NEVER, ALWAYS):
        return
    right = "write 'never', 'always' or an expression over the arguments"
    if not isinstance(policy, str) or len(policy) > MAX_LENGTH:
        raise ValueError(f"approval is {str(policy)[:100]!r}; {right}, of at most {MAX_LENGTH:,} characters")
    try:
        nodes = list(ast.walk(ast.parse(policy.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"approval is {policy!r}, which is no expression ({error}); {right}") from error
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    known = {*parameters, *FUNCTIONS, "True", "False", "None"}
    if unknown := sorted({node.id for node in names} - bound - known):
        raise ValueError(
            f"approval is {policy!r}, but there is no {unknown[0]!r}; "
            f"the parameters are: {', '.join(sorted(parameters)) or 'none'}"
        )


def stricter(one: str, other: str) -> str:
    """The policy by which a person must agree when they must by either."""
    if NEVER in (one, other):
        return other if one == NEVER else one
    if ALWAYS in (one, other):
        return ALWAYS
    return one if one == other else f"(\n{one}\n) or (\n{other}\n)"


def is_needed(policy: str, arguments: Mapping[str, Any]) -> bool:
    """Decide whether a person must agree. When the expression fails, one must.

    Args:
        policy: As checked by `check_policy`.
        arguments: Values by parameter, as JSON has them.
    """
    if policy in (NEVER, ALWAYS):
        return policy == ALWAYS
    # It carries no types.
    from simpleeval import EvalWithCompoundTypes  # pyright: ignore[reportMissingTypeStubs]

    names = {"True": True, "False": False, "None": None, **arguments}
    try:
        evaluator: Any = EvalWithCompoundTypes(names=names, functions=dict(FUNCTIONS))
        return bool(evaluator.eval(policy.strip()))
    except Exception as error:
        # Without the message, which may have the arguments in it.
        logger.warning("Approval policy %r failed with %s, so approval is asked for", policy, type(error).__name__)
        return True
