"""An exam holds functions that the repository's own tests check, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiforge.errors import Failure, Unavailable
from aiforge.evaluation import exam
from aiforge.evaluation.exam import sit_all
from aiforge.evaluation.exam_items import cut_body, find_items
from aiforge.evaluation.exam_mining import Mined, mine
from aiforge.evaluation.sandbox import Sandbox
from aiforge.evaluation.sandbox_probe import open_sandbox
from aiforge.raft import holdout
from aiforge.raft.records import Chunk
from aiforge.schemas.datasets import RaftConfig

SHAPES = '''\
"""Shapes."""

import math


def area(width, height):
    """Area of a rectangle."""
    if width < 0 or height < 0:
        raise ValueError("negative")
    return width * height


def untested(value):
    total = value + 1
    return total * 2


def skipped(value):
    half = value / 2
    return half


class Circle:
    def __init__(self, radius):
        self.radius = radius
        self.kind = "circle"

    def area(
        self,
        scale=1,
    ):
        scaled = self.radius * scale
        return math.pi * scaled**2


def fragile(value):
    wanted = value
    return wanted


def short(x): return x
'''
TESTS = """\
import pytest
from shapes import Circle, area, fragile, skipped


def test_area():
    assert area(2, 3) == 6


@pytest.mark.parametrize("size", [-1, -2])
def test_negative(size):
    with pytest.raises(ValueError):
        area(size, 1)


def test_skipped():
    try:
        skipped(3)
    except NotImplementedError:
        pass


class TestCircle:
    def test_area(self):
        assert 12 < Circle(2).area() < 13


def test_fragile():
    open("state.txt", "a").write("x")
    fragile(1)
"""
FILES = {
    "src/shapes.py": SHAPES,
    "tests/test_shapes.py": TESTS,
    "tests/conftest.py": "",
    "README.md": "# Shapes\n",
    "../outside.py": "x = 1\n",
    "broken.py": "def (:\n",
}


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    try:
        return open_sandbox()
    except Unavailable as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def mined(sandbox: Sandbox) -> Mined:
    return mine(sandbox, FILES, "snapshots/s", 10, seconds=60)


def test_what_the_tests_check_is_in_it(mined: Mined) -> None:
    names = {item.qualified: item for item in mined.items}

    assert set(names) == {"area", "Circle.__init__", "Circle.area"}
    assert sorted(names["area"].tests) == [
        "tests/test_shapes.py::test_area",
        "tests/test_shapes.py::test_negative[-1]",
        "tests/test_shapes.py::test_negative[-2]",
    ]
    # Of those no test runs: what fails in a directory that cannot be written to.
    assert mined.reasons == {"no test runs it": 2, "its tests pass without it": 1}


def test_only_right_bodies_pass(sandbox: Sandbox, mined: Mined) -> None:
    item = next(item for item in mined.items if item.qualified == "area")
    right = "    if min(width, height) < 0: raise ValueError\n    return height * width\n"
    attempts = [
        (item, right),
        (item, item.body),
        (item, "    return width * height\n"),
        (item, "    import os\n    os._exit(0)\n"),
        (item, "    return (\n"),
    ]

    outcomes = sit_all(sandbox, FILES, attempts)

    assert [outcome.passed for outcome in outcomes] == [True, True, False, False, False]


def test_it_survives_a_file(mined: Mined) -> None:
    assert exam.load(exam.dump(mined.items)) == mined.items
    with pytest.raises(Failure):
        exam.load(b"{}")


def test_a_repository_without_tests_has_no_exam(sandbox: Sandbox) -> None:
    assert mine(sandbox, {"src/shapes.py": SHAPES}, "s", 5).items == []


def test_tests_that_lie_about_themselves_make_no_exam(sandbox: Sandbox) -> None:
    lying = "import os\nos.write(1, b'-----coverage-----\\n{\"x\": 1}')\nos._exit(0)\n"

    with pytest.raises(Failure) as caught:
        mine(sandbox, FILES | {"tests/test_shapes.py": lying}, "s", 5)
    assert caught.value.code == "exam_not_possible"


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    with exam.materialised(FILES) as root:
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        assert not (root.parent / "outside.py").exists()
    assert found == FILES.keys() - {"../outside.py"}
    assert not root.exists()


def test_a_file_is_its_parts() -> None:
    for item in find_items("src/shapes.py", SHAPES, "s"):
        assert item.file(item.body) == SHAPES
        compile(item.stub(), item.path, "exec")
        assert item.prompt.rstrip().endswith((":", '"""'))
    names = [item.qualified for item in find_items("src/shapes.py", SHAPES, "s")]
    assert names == ["area", "untested", "skipped", "Circle.__init__", "Circle.area", "fragile"]


@pytest.mark.parametrize(
    ("text", "indent", "body"),
    [
        ("    return 1\n\n\ndef other():\n    pass", "    ", "    return 1\n"),
        ("return 1", "    ", "    return 1\n"),
        ("        return 1\n    def next(self):\n", "        ", "        return 1\n"),
        ("    if x:\n        return 1\n\n    return 2\n```\nDone", "    ", None),
        ("", "    ", "\n"),
    ],
)
def test_a_completion_ends_with_the_body(text: str, indent: str, body: str | None) -> None:
    wanted = body or "    if x:\n        return 1\n\n    return 2\n"

    assert cut_body(text, indent) == wanted


@given(st.text(max_size=300), st.sampled_from(["    ", "\t", "        "]))
def test_any_completion_is_cut(text: str, indent: str) -> None:
    for line in cut_body(text, indent).split("\n"):
        assert not line.strip() or line.startswith(indent)


def chunk(text: str) -> Chunk:
    return Chunk("c", "s", "p.py", "r", "python", None, "b", 1, 2, text, 9, False)


def reserved_body() -> Iterator[str]:
    for item in find_items("src/shapes.py", SHAPES, "s"):
        if item.qualified == "area":
            yield item.code()


def test_what_is_examined_is_not_trained_on() -> None:
    (code,) = reserved_body()
    config = RaftConfig(reserved=[holdout.fingerprint(code)])
    renamed = code.replace("area", "surface")
    moved = "class Box:\n" + "".join(f"    {line}\n" for line in code.splitlines())
    part = "\n".join(code.splitlines()[2:])
    other = "def perimeter(width, height):\n    return 2 * (width + height)\n" * 2
    chunks = [chunk(text) for text in (code, renamed, moved, part, SHAPES, other, TESTS)]

    reasons = holdout.judge(chunks, config)

    assert [reason is not None for reason in reasons] == [True] * 5 + [False] * 2
    assert holdout.judge(chunks, RaftConfig()) == [None] * 7
