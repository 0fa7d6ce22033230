"""Cutting documents into passages."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from perdure.domain.chunks import MAX_CHARACTERS, chunks


def test_a_passage_never_crosses_a_heading() -> None:
    text = "Preface.\n\n# One\n\nFirst.\n\nSecond.\n## Two\nThird.\n"
    assert [(chunk.heading, chunk.text) for chunk in chunks(text)] == [
        ("", "Preface."),
        ("One", "First.\n\nSecond."),
        ("One > Two", "Third."),
    ]


def test_paragraphs_stay_together_while_they_fit() -> None:
    paragraph = "word " * 80
    found = list(chunks("\n\n".join([paragraph.strip()] * 5)))
    assert [len(chunk.text) for chunk in found] == [800, 800, 399]


def test_a_paragraph_that_is_too_long_is_cut() -> None:
    found = list(chunks("x" * (2 * MAX_CHARACTERS + 5)))
    assert [len(chunk.text) for chunk in found] == [MAX_CHARACTERS, MAX_CHARACTERS, 5]


def test_a_hash_without_a_title_is_text() -> None:
    assert [chunk.heading for chunk in chunks("#hashtag is text")] == [""]


@given(st.text(alphabet=st.sampled_from("ab #\n\t.é"), max_size=400) | st.text(max_size=200))
def test_offsets_point_at_the_text_and_nothing_is_lost(text: str) -> None:
    found = list(chunks(text))
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in found)
    assert all(earlier.end <= later.start for earlier, later in pairwise(found))
    kept = "\n".join(f"{chunk.heading}\n{chunk.text}" for chunk in found)
    assert [word for word in text.split() if word.strip("#") not in kept] == []


def test_a_long_document_is_cut_in_no_time() -> None:
    assert len(list(chunks("word " * 200_000))) > 800
    assert len(list(chunks("# a\n" * 100_000))) == 100_000


def test_a_passage_names_every_heading_above_it() -> None:
    text = "# Guide\n## Retries\n### Back-off ###\nDoubled.\n## Limits\nNone.\n# C#\nSharp.\n"
    assert [(chunk.heading, chunk.text) for chunk in chunks(text)] == [
        ("Guide > Retries > Back-off", "Doubled."),
        ("Guide > Limits", "None."),
        ("C#", "Sharp."),
    ]


def test_a_line_too_long_for_a_heading_is_text() -> None:
    [chunk] = chunks("# " + "x" * 500)
    assert (chunk.heading, len(chunk.text)) == ("", 502)


def test_code_stays_whole_while_it_fits_and_its_comments_are_no_headings() -> None:
    code = "```python\n# not a heading\n\n" + "call()\n" * 100 + "```"
    text = "# Use\n" + "Words. " * 100 + f"\n{code}\nAfter.\n"
    found = list(chunks(text))
    assert {chunk.heading for chunk in found} == {"Use"}
    assert any(code in chunk.text for chunk in found)


def test_code_too_long_for_one_passage_is_cut_after_a_line() -> None:
    found = list(chunks("~~~\n" + "call(1, 2, 3)\n" * 400 + "~~~\n"))
    assert len(found) > 3
    assert all(chunk.text.endswith(("call(1, 2, 3)", "~~~")) for chunk in found)


def test_a_long_paragraph_is_cut_after_a_sentence_and_never_within_a_word() -> None:
    found = list(chunks("This is a sentence of eight words, sure. " * 200))
    assert all(chunk.text.strip().endswith(".") for chunk in found)
    assert all(chunk.text.split()[-1] == "word" for chunk in chunks("word " * 1000))


def test_a_heading_with_nothing_below_it_is_a_passage() -> None:
    text = "# only a heading\n## phone 555-1234 of the plumber\n# End\n"
    assert [(chunk.heading, chunk.text) for chunk in chunks(text)] == [
        ("only a heading > phone 555-1234 of the plumber", "## phone 555-1234 of the plumber"),
        ("End", "# End"),
    ]
