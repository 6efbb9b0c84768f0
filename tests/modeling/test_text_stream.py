"""Text is shown as soon as it is certain, and never beyond a stop text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiforge.modeling.text_stream import TextStream

ALPHABET = st.sampled_from("ab<|é")


@given(
    st.text(ALPHABET, max_size=40),
    st.lists(st.text(ALPHABET, min_size=1, max_size=5), max_size=3),
    st.lists(st.integers(1, 4), min_size=1),
)
def test_however_the_bytes_are_cut_the_text_ends_before_the_first_stop(
    text: str, stop: list[str], sizes: list[int]
) -> None:
    stream, shown, data, position, turn = TextStream(stop), "", text.encode(), 0, 0
    while position < len(data) and not stream.stopped:
        size = sizes[turn % len(sizes)]
        shown += stream.add(data[position : position + size])
        position, turn = position + size, turn + 1
        assert not any(s in shown for s in stop)
    shown += stream.rest()
    found = any(s in text for s in stop)
    assert stream.stopped == found
    if found:
        assert text.startswith(shown)
        assert any(text[len(shown) :].startswith(s) for s in stop)
    else:
        assert shown == text


def test_what_cannot_begin_a_stop_text_is_not_held_back() -> None:
    stream = TextStream(["<|end|>"])
    assert stream.add(b"one <") == "one "
    assert stream.add(b"b> two") == "<b> two"
    assert stream.add("é".encode()[:1]) == ""
    assert stream.rest() == "�"
