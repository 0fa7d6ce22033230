"""Finding an arithmetic expression in a sentence, and writing what is said in words as operators."""

import re

from perdure.models.offline.values import NUMBER, NUMBER_WORDS, Reading

_N = rf"({NUMBER})"
# Each phrase with the operators it stands for, in the order in which they must be read.
_PHRASES = [
    (r"(?<=\d)\s*(?:%|percent|per cent)\s+of\s+(?=[\d(])", "/100*"),
    (r"(?<=\d)\s*(?:%(?!\s*[\d(])|percent\b|per cent\b)", "/100"),
    (r"\bhalf of\s+(?=[\d(])", "0.5*"),
    (rf"\b(?:square root|sqrt) of\s+{_N}", r"sqrt(\1)"),
    (rf"\bsubtract {_N} from {_N}", r"\2 - \1"),
    (rf"\bmultiply {_N} (?:by|and|with) {_N}", r"\1 * \2"),
    (rf"\bdivide {_N} by {_N}", r"\1 / \2"),
    (rf"\bdifference between {_N} and {_N}", r"\1 - \2"),
    (r"(?<=[\d)])\s+(?:to the power of|raised to(?: the power of)?)\s+(?=[\d(])", "**"),
    (r"(?<=[\d)])\s+squared\b", "**2"),
    (r"(?<=[\d)])\s+cubed\b", "**3"),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\b(?:times|multiplied by)\b", "*"),
    (r"\b(?:divided by|over)\b", "/"),
    (r"(?<=[\d)])\s*[x×·]\s*(?=[\d(])", " * "),
    (r"÷", "/"),
    (r"−", "-"),
    (r"\^", "**"),
    (r"(?<=\d),(?=\d{3}\b)", ""),
]
_LIST = re.compile(rf"\b(add|sum of|total of|product of) ({NUMBER}(?:(?:,? and|,| to) {NUMBER})+)", re.IGNORECASE)
_SPELLED = re.compile(rf"\b(?:{'|'.join(NUMBER_WORDS)})\b", re.IGNORECASE)
_LINK = re.compile(r"(?:,? and|,| to) ")
_REWRITES = [(re.compile(phrase, re.IGNORECASE), operators) for phrase, operators in _PHRASES]
_FUNCTION = r"(?:sqrt|abs|sin|cos|tan|log10|log|ln|exp|min|max|round|floor|ceil|pow|factorial)(?=\()"
_TOKEN = re.compile(
    rf"(?P<operand>\d+(?:\.\d+)?(?:e[+-]?\d+)?|\.\d+|\bpi\b)|(?P<operator>\*\*|//|[-+*/%])"
    rf"|(?P<bracket>[(),]|{_FUNCTION})|(?P<space>\s+)|(?P<other>\w+|.)",
    re.IGNORECASE,
)


def find_expression(reading: Reading) -> str | None:
    """The longest stretch of a request that is arithmetic; None when there is none.

    `^` becomes `**`, "times" `*`, "10% of 250" `10/100*250`.
    """
    # A quotation is searched only when nothing outside of it is arithmetic.
    for text in (reading.plain, *reading.quotations[:1]):
        text = _SPELLED.sub(lambda said: str(NUMBER_WORDS[said[0].lower()]), text)
        text = _LIST.sub(lambda said: _LINK.sub(" * " if "product" in said[1].lower() else " + ", said[2]), text)
        for pattern, operators in _REWRITES:
            text = pattern.sub(operators, text)
        best = max(map(_trimmed, _runs(text[:4000])), key=len, default="")
        if best:
            return best
    return None


def _runs(text: str) -> list[str]:
    runs, current = [""], ""
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "other":
            runs.append(current)
            current = ""
        else:
            current += token[0]
    return [*runs, current]


def _trimmed(run: str) -> str:
    """Take away what cannot begin or end an expression; "" unless an operation on a number is left."""
    run = run.strip().lstrip("*/%,+)").rstrip("-+*/%,( ").strip()
    while run.count("(") > run.count(")") and run.startswith("("):
        run = run[1:].strip()
    while run.count(")") > run.count("(") and run.endswith(")"):
        run = run[:-1].strip()
    if run.count("(") != run.count(")"):
        return ""
    operation = re.search(r"[\d)i]\s*(?:\*\*|//|[-+*/%])\s*[-+(\d.a-z]|[a-z]\(", run, re.IGNORECASE)
    # Two operands with nothing between them are two numbers of a sentence.
    side_by_side = re.search(r"[\d)]\s+[\d(a-z]", run, re.IGNORECASE)
    return run if operation and not side_by_side else ""
