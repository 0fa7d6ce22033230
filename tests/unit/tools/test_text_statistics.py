"""Counting in text of any script."""

import time

import pytest

from activities.tools.text_statistics import text_statistics

TEXT = "Hello world. It's 3.14, well-known! Ok?\n\nHello again."


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("characters", 53),
        ("characters_without_spaces", 45),
        ("words", 8),
        ("sentences", 4),
        ("lines", 3),
        ("paragraphs", 2),
    ],
)
def test_everything_is_counted(name: str, count: int) -> None:
    assert text_statistics(TEXT)[name] == count


def test_the_most_frequent_words_come_first_whatever_their_case() -> None:
    assert text_statistics("The cat and the dog and THE bird")["most_frequent_words"][:2] == [
        {"word": "the", "count": 3},
        {"word": "and", "count": 2},
    ]


def test_reading_time_is_at_238_words_a_minute() -> None:
    assert text_statistics("word " * 476)["reading_time_minutes"] == 2.0


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        ("हिन्दी भाषा। दूसरा।", 3, 2),
        ("今日は良い天気です。明日も。", 12, 2),
        ("e\u0301te\u0301", 1, 1),
        ("Ça va ? L’été !", 3, 2),
        ('He said "go." Then left.', 5, 2),
        ("", 0, 0),
        (" \n\n. . .", 0, 0),
    ],
)
def test_words_and_sentences_of_any_script_are_counted(text: str, words: int, sentences: int) -> None:
    counted = text_statistics(text)
    assert (counted["words"], counted["sentences"]) == (words, sentences)


@pytest.mark.parametrize(
    "text", ["." * 200_000 + "x", ".'" * 100_000 + "x", "\n " * 100_000 + "x", "1." * 100_000 + "x"]
)
def test_counting_takes_time_in_proportion_to_the_text(text: str) -> None:
    started = time.process_time()
    text_statistics(text)
    assert time.process_time() - started < 2
