"""Counting, which language models are bad at."""

from collections import Counter
from typing import Any

from perdure.tools import tool
from perdure.tools.shipped.text_counts import paragraphs, sentences, words

WORDS_PER_MINUTE = 238
"""Silent reading of English non-fiction by adults: Brysbaert, Journal of Memory and Language 109 (2019), 104047."""

FREQUENT_WORDS = 10
MAX_WORD_CHARACTERS = 60


@tool(idempotent=True, timeout=10.0)
def text_statistics(text: str) -> dict[str, Any]:
    """Count characters, words, sentences, lines and paragraphs of a text, its most frequent words and reading time.

    Use it instead of counting yourself. A Chinese or Japanese character counts as one word. Sentences are counted by
    their punctuation, so an abbreviation may count as an end. Reading time is in minutes, at 238 words a minute (the
    mean for adults reading English non-fiction silently, Brysbaert 2019).

    Args:
        text: The text itself, not a reference to it.
    """
    found = words(text)
    frequent = Counter(word.casefold() for word in found).most_common(FREQUENT_WORDS)
    return {
        "characters": len(text),
        "characters_without_spaces": sum(not character.isspace() for character in text),
        "words": len(found),
        "sentences": sentences(text),
        "lines": len(text.splitlines()),
        "paragraphs": paragraphs(text),
        "most_frequent_words": [{"word": word[:MAX_WORD_CHARACTERS], "count": count} for word, count in frequent],
        "reading_time_minutes": round(len(found) / WORDS_PER_MINUTE, 1),
    }
