"""Arithmetic on what a model wrote: exact where numbers are rational, and bounded in time whatever is asked.

1. Split the text into numbers, names and operators.
2. Evaluate while parsing, with Python's precedence, on fractions: 0.1 + 0.2 is 0.3.
3. Fall back to binary floating point where a result is irrational or its fraction grows out of bounds.
4. Write the result as a plain decimal number.

Every intermediate result is bounded in size, so the work is bounded by the length of the expression.
"""

import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from functools import partial
from itertools import count
from typing import Any

from perdure.tools.tool import ToolError

type Number = Fraction | float

MAX_CHARACTERS = 1000
MAX_DEPTH = 50
MAX_DIGITS = 1000
MAX_BITS = math.ceil(MAX_DIGITS * math.log2(10))

EXACT_DIGITS = 50
"""A decimal fraction with at most so many digits is written in full."""

ROUNDED_DIGITS = 20
"""Digits written of a fraction that has no end, such as 1/3."""

FLOAT_DIGITS = 15
"""Digits a binary floating-point number carries reliably; more would show its noise."""

MIN_FLOAT, MAX_FLOAT = sys.float_info.min, sys.float_info.max

PLAIN_EXPONENT = 21
"""Powers of ten beyond which a decimal fraction is written with an exponent."""

_TOKEN = re.compile(
    r"(?P<number>(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<operator>\*\*|//|[-+*/%()\[\],])"
)
_SIGNS = str.maketrans({"^": "**", "×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "π": "pi", "√": "sqrt"})
_UNARY_POWER = 30
_BINARY_POWER = {"+": 10, "-": 10, "*": 20, "/": 20, "//": 20, "%": 20, "**": 40}
_CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e, "tau": math.tau}


def evaluate(expression: str) -> str:
    """Work out an expression and write its value as a decimal number.

    Raises:
        ToolError: It is no expression, has no real value, or is larger than this calculator holds.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ToolError(
            f"The expression has {len(expression)} characters, more than {MAX_CHARACTERS}; split it into several."
        )
    try:
        return written(_Parser(expression.translate(_SIGNS)).value())
    except ZeroDivisionError as error:
        raise ToolError("The expression divides by zero.") from error
    except OverflowError as error:
        raise _too_large() from error


def written(value: Number) -> str:
    """Write a number in decimal digits."""
    if isinstance(value, Fraction):
        return str(value.numerator) if value.denominator == 1 else _decimal(value)
    if value.is_integer() and abs(value) < 10**FLOAT_DIGITS:
        return str(int(value))
    return f"{value:.{FLOAT_DIGITS}g}"


def _decimal(value: Fraction) -> str:
    context = Context(prec=EXACT_DIGITS)
    number = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    if Fraction(number) != value:
        context = Context(prec=ROUNDED_DIGITS)
        number = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    number = number.normalize(context)
    return f"{number:f}" if abs(number.adjusted()) < PLAIN_EXPONENT else f"{number:e}"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
        elif found := _TOKEN.match(text, place):
            yield _Token(found.lastgroup or "", found[0], place + 1)
            place = found.end()
        else:
            raise ToolError(
                f"The expression has {text[place]!r} at position {place + 1}; use numbers, + - * / // % **, "
                f"parentheses, {', '.join(_CONSTANTS)} and the functions {', '.join(_FUNCTIONS)}."
            )
    yield _Token("end", "", len(text) + 1)


class _Parser:
    """Precedence climbing: one pass, evaluating as it goes."""

    def __init__(self, text: str) -> None:
        self._rest = _tokens(text)
        self._next = next(self._rest)
        self._depth = 0

    def value(self) -> Number:
        result = self._expression(0)
        if self._next.kind != "end":
            raise self._unexpected("write the operator, such as 2*pi, and thousands without separators")
        return result

    def _expression(self, power: int) -> Number:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError(f"The expression is nested deeper than {MAX_DEPTH} levels; split it into several.")
        left = self._operand()
        while (binding := _BINARY_POWER.get(self._next.text, 0)) > power:
            operator = self._take().text
            # A power binds to the right: 2**3**2 is 2**9; and its exponent may carry a sign: 2**-1.
            right = self._expression(_UNARY_POWER - 1 if operator == "**" else binding)
            left = _fitting(_OPERATORS[operator](left, right))
        self._depth -= 1
        return left

    def _operand(self) -> Number:
        token = self._take()
        match token.kind, token.text:
            case "number", text:
                return _literal(text)
            case "operator", "-":
                return -self._expression(_UNARY_POWER)
            case "operator", "+":
                return self._expression(_UNARY_POWER)
            case "operator", "(":
                value = self._expression(0)
                self._expect(")")
                return value
            case "name", name if name in _CONSTANTS:
                return _CONSTANTS[name]
            case "name", name if name in _FUNCTIONS:
                return _FUNCTIONS[name](self._arguments(name))
            case "name", name:
                raise ToolError(
                    f"The calculator does not know {name!r}; there are {', '.join(_CONSTANTS)} and the functions "
                    f"{', '.join(_FUNCTIONS)}."
                )
            case _:
                self._next = token
                raise self._unexpected("a number is missing there")

    def _arguments(self, name: str) -> list[Number]:
        self._expect("(", f"write the argument in parentheses: {name}(2)")
        listed = self._next.text == "["
        if listed:
            self._take()
        values: list[Number] = []
        while self._next.text not in (")", "]"):
            values.append(self._expression(0))
            if self._next.text == ",":
                self._take()
            elif self._next.text not in (")", "]"):
                raise self._unexpected("a comma or a parenthesis is missing there")
        if listed:
            self._expect("]")
        self._expect(")")
        return values

    def _take(self) -> _Token:
        token = self._next
        self._next = next(self._rest, token)
        return token

    def _expect(self, text: str, advice: str = "") -> None:
        if self._next.text != text:
            raise self._unexpected(advice or f"{text!r} is missing there")
        self._take()

    def _unexpected(self, advice: str) -> ToolError:
        token = self._next
        what = f"{token.text!r} at position {token.place}" if token.text else "the end of the expression"
        return ToolError(f"The expression goes wrong at {what}: {advice}.")


def _literal(text: str) -> Number:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise ToolError(f"{text[:40]!r} is no number this calculator can read.") from error
    # Before it becomes a fraction: 1e999999999 is short to write and long to compute.
    if number and (not number.is_finite() or abs(number.adjusted()) > MAX_DIGITS):
        raise _too_large()
    return Fraction(number)


def _fitting(value: Number) -> Number:
    """Keep a result exact while it is small enough, and refuse what is no finite number."""
    if isinstance(value, Fraction):
        if value.numerator.bit_length() <= MAX_BITS and value.denominator.bit_length() <= MAX_BITS:
            return value
        value = float(value)
    if math.isnan(value):
        raise ToolError("The expression has no real value.")
    if math.isinf(value):
        raise _too_large()
    return value


def _too_large() -> ToolError:
    return ToolError(
        f"A number in the expression is too large or too small: whole numbers may have about {MAX_DIGITS} digits, "
        "others lie between 1e-308 and 1e308."
    )


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        if abs(base) in (0, 1):
            return base ** _small(exponent.numerator)
        # Bits less one, because 10**999 fits and 10 has four; the result is at most twice too large for a moment.
        bits = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
        if bits * abs(exponent.numerator) <= MAX_BITS:
            return base**exponent.numerator
    if base < 0 and not _is_whole(exponent):
        raise ToolError("A negative number to a fractional power has no real value.")
    result = float(base) ** float(exponent)
    if result == 0 and base != 0:
        raise _too_large()
    return result


def _small(exponent: int) -> int:
    """A small exponent that does the same to 0, 1 and -1: sign and parity are all that counts."""
    return int(math.copysign(2 - exponent % 2, exponent)) if exponent else 0


def _is_whole(value: Number) -> bool:
    return value.denominator == 1 if isinstance(value, Fraction) else value.is_integer()


_OPERATORS: dict[str, Callable[[Number, Number], Number]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: Fraction(math.floor(a / b)),
    "%": lambda a, b: a % b,
    "**": _power,
}


def _sqrt(value: Number) -> Number:
    if isinstance(value, Fraction) and value >= 0:
        above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if above**2 == value.numerator and below**2 == value.denominator:
            return Fraction(above, below)
    return math.sqrt(value)


def _log(value: Number, base: Number | None = None) -> Number:
    return _logarithm(value) if base is None else _logarithm(value) / _logarithm(base)


def _logarithm(value: Number, log: Callable[[float], float] = math.log) -> float:
    if isinstance(value, float) or value <= 0 or MIN_FLOAT <= value <= MAX_FLOAT:
        return log(float(value))
    # Taken apart where a fraction is no float but its logarithm is; near 1 the difference would lose its digits.
    return log(value.numerator) - log(value.denominator)


def _round(value: Number, digits: Number = Fraction(0)) -> Number:
    places = _integer("round", digits)
    if abs(places) > MAX_DIGITS:
        raise ToolError(f"round takes at most {MAX_DIGITS} digits.")
    return round(value if isinstance(value, Fraction) else Fraction(value), places)


def _factorial(value: Number) -> Number:
    number = _integer("factorial", value)
    if not 0 <= number <= _MAX_FACTORIAL:
        raise ToolError(f"factorial takes a whole number from 0 to {_MAX_FACTORIAL}, not {written(value)[:40]}.")
    return Fraction(math.factorial(number))


_MAX_FACTORIAL = next(n for n in count() if math.lgamma(n + 2) > MAX_DIGITS * math.log(10))


def _integer(name: str, value: Number) -> int:
    if not _is_whole(value):
        raise ToolError(f"{name} takes whole numbers, not {written(value)[:40]}.")
    return int(value)


def _total(*values: Number) -> Number:
    return sum(values, Fraction(0))


def _gcd(*values: Number) -> Number:
    return Fraction(math.gcd(*(_integer("gcd", value) for value in values)))


def _lcm(*values: Number) -> Number:
    return Fraction(math.lcm(*(_integer("lcm", value) for value in values)))


def _function(name: str, call: Callable[..., Any], least: int, most: int) -> Callable[[list[Number]], Number]:
    def checked(values: list[Number]) -> Number:
        if not least <= len(values) <= most:
            takes = f"{least}" if least == most else f"{least} or more" if most > 2 else f"{least} or {most}"
            raise ToolError(f"{name} takes {takes} numbers, not {len(values)}.")
        try:
            result: Number | int = call(*values)
        except ValueError as error:
            raise ToolError(f"{name} has no real value for {', '.join(written(v)[:40] for v in values)}.") from error
        return _fitting(Fraction(result) if isinstance(result, int) else result)

    return checked


_SIGNATURES: tuple[tuple[str, Callable[..., Any], int, int], ...] = (
    ("sqrt", _sqrt, 1, 1),
    ("abs", abs, 1, 1),
    ("round", _round, 1, 2),
    ("floor", math.floor, 1, 1),
    ("ceil", math.ceil, 1, 1),
    ("log", _log, 1, 2),
    ("ln", _log, 1, 1),
    ("log10", partial(_logarithm, log=math.log10), 1, 1),
    ("log2", partial(_logarithm, log=math.log2), 1, 1),
    ("exp", math.exp, 1, 1),
    ("sin", math.sin, 1, 1),
    ("cos", math.cos, 1, 1),
    ("tan", math.tan, 1, 1),
    ("asin", math.asin, 1, 1),
    ("acos", math.acos, 1, 1),
    ("atan", math.atan, 1, 1),
    ("radians", math.radians, 1, 1),
    ("degrees", math.degrees, 1, 1),
    ("min", lambda *values: min(values), 1, MAX_CHARACTERS),
    ("max", lambda *values: max(values), 1, MAX_CHARACTERS),
    ("sum", _total, 1, MAX_CHARACTERS),
    ("factorial", _factorial, 1, 1),
    ("gcd", _gcd, 1, MAX_CHARACTERS),
    ("lcm", _lcm, 1, MAX_CHARACTERS),
)
"""Name, function, and the least and the most numbers it takes."""

_FUNCTIONS = {signature[0]: _function(*signature) for signature in _SIGNATURES}
