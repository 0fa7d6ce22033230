"""Arithmetic that a language model should not do in its head."""

from perdure.tools import tool
from perdure.tools.shipped.arithmetic import evaluate


@tool(idempotent=True, timeout=5.0)
def calculate(expression: str) -> str:
    """Work out an arithmetic expression exactly. Use it for every calculation, even one that looks easy.

    Operators: + - * / (division), // (division rounded down), % (remainder, not per cent: write 0.05 for 5 %),
    ** or ^ (power), parentheses. Functions: sqrt, abs, round(x, digits) (halves go to the even digit), floor, ceil,
    log (natural) or log(x, base), ln, log10, log2, exp, sin, cos, tan, asin, acos, atan (in radians), radians,
    degrees, min, max, sum, factorial, gcd, lcm. Constants: pi, e, tau. Write numbers with a decimal point and
    without thousands separators, and only numbers: no units, no variables, no equals sign.

    Args:
        expression: What to work out, such as "(1250 - 300) * 1.19" or "sqrt(2) ** 3".
    """
    return evaluate(expression)
