"""The text of a web page, however broken or hostile."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.tools.shipped.readable_html import readable


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("plain", "plain"),
        ("a <b>b</b> c", "a b c"),
        ("a<b>b</b>c", "abc"),
        ("<p>one\n  two</p><p>three", "one two\n\nthree"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("<h2>Head</h2>text", "## Head\n\ntext"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("<pre>a\n    b\n\n\tc</pre>d", "a\n    b\n\n    c\n\nd"),
        ("a &lt;b&gt; &amp; &eacute;&#233;", "a <b> & éé"),
        ("a<!-- <p>no</p> -->b", "ab"),
        ("a<script>if (a < b) {}</SCRIPT>b<style>p {}</style>c", "abc"),
        ('<a title="x > y">link</a>', "link"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a<!DOCTYPE html>b<?xml?>c", "abc"),
        ("text <a href=", "text"),
        ("text <script>never closed", "text"),
        ("text <!-- never closed", "text"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("<", "<"),
    ],
)
def test_a_page_reads_as_a_person_would_see_it(page: str, text: str) -> None:
    assert readable(page).text == text


def test_the_first_title_is_the_title() -> None:
    assert readable("<title> A\n&amp; B </title><title>C</title>").title == "A & B"


@pytest.mark.parametrize(
    "piece",
    [
        "<!--",
        "<a ",
        "</",
        "<![",
        "<?",
        "<!",
        '<a b="',
        "&",
        "<script>",
        "<a/",
        "<b>",
        " ",
        "<b> ",
        "<pre> ",
        "<title>",
        "&#9",
    ],
)
def test_reading_takes_time_in_proportion_to_the_page(piece: str) -> None:
    started = time.process_time()
    readable(piece * (200_000 // len(piece)))
    assert time.process_time() - started < 2


@given(st.text(st.sampled_from("<>/!-?'\"= &;#x1abprtiles\n")))
def test_no_page_is_too_broken(page: str) -> None:
    readable(page)
