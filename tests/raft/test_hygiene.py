"""Secrets, e-mail addresses, denied licences and benchmarks: found, taken out, counted."""

from __future__ import annotations

import json
import os
import string
from pathlib import Path

import pytest
from corpora import Run, Write, corpus_files, module, rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiforge
from aiforge.errors import InvalidInput
from aiforge.raft import contamination, filters
from aiforge.raft.contamination import NgramIndex, benchmark_texts
from aiforge.raft.licenses import denied_license
from aiforge.raft.secrets import STAND_IN, secret_in, without_addresses
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage

CALM = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

# Put together here, so that no scanner takes this file for what it tests.
SECRETS = {
    "AWS Access Key": 'key = "' + "AKIA" + 'Q3EGRZ7L5MN2PQ4R"',
    "GitHub Token": "curl -H 'Authorization: " + "ghp_" + "a8Kd0LmQz7RtYw3XcVbN5hJg2FsPe1UoI9Zq'",
    "GitLab Token": "TOKEN=" + "glpat-" + "Zx8Kq3Lm9Pw2Rt5Yv7Bn",
    "Private Key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "Slack Token": "slack('" + "xoxb-" + "2385781293-8347593847-aB3dE5fG7hI9kL1mN3oP5qR7')",
    "Stripe Access Key": "stripe = '" + "sk_live_" + "9aB8cD7eF6gH5iJ4kL3mN2oP'",
    "Secret Keyword": "db_password = '" + "t7Kq9vLm2Xw4Zr8P'",
    "Basic Auth Credentials": "url = 'postgres://admin:" + "kX92mPq7Lw@db.internal/main'",
    "JSON Web Token": "auth = '"
    + "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4ifQ."
    + "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c'",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_are_found(kind: str) -> None:
    assert secret_in(f"import os\n\n{SECRETS[kind]}\n") == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        'password = os.environ["DB_PASSWORD"]',
        'token = "your-token-goes-here-12"',
        'secret = "${SECRET_FROM_ENVIRONMENT_1}"',
        'api_key = "test_key_0123456789ab"',
        'password = "correct horse battery"',
        'token_type = "urn:ietf:params:oauth:token-type"',
        'token = "123e4567-e89b-12d3-a456-426614174000"',
        'digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
        'url = "https://user:password@example.org/"',
        'url = f"https://{user}:{password}@host/"',
        "def tokenize(text: str) -> list[str]: ...",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert secret_in(text) is None


def test_this_project_holds_no_secret_but_in_its_tests_of_finding_them() -> None:
    root = Path(aiforge.__file__).parent
    assert [p.name for p in root.rglob("*.py") if secret_in(p.read_text())] == []


@CALM
@given(st.text(max_size=400))
def test_any_text_is_searched(text: str) -> None:
    secret_in(text)
    cleaned, count = without_addresses(text)
    assert cleaned.count("\n") == text.count("\n")
    assert (cleaned == text) == (count == 0)
    assert without_addresses(cleaned) == (cleaned, 0)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("by Ann Onym <ann.o+x@mail.sub-domain.org>.", f"by Ann Onym <{STAND_IN}>."),
        ("a@b.com,c@d.de", f"{STAND_IN},{STAND_IN}"),
        ("mailto:a_b@c.io", f"mailto:{STAND_IN}"),
    ],
)
def test_addresses_are_replaced(text: str, cleaned: str) -> None:
    assert without_addresses(text)[0] == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:a/b.git",
        "user@example.com",
        "x = a@self.weight.t",
        "@decorator.com",
        "12345+me@users.noreply.github.com",
        "y = matrix@layer.inputs",
        "a@b",
    ],
)
def test_what_is_no_address_of_a_person_stays(text: str) -> None:
    assert without_addresses(text) == (text, 0)


def test_addresses_in_hostile_lengths_take_no_time() -> None:
    text = "a@" * 200_000 + "a." * 200_000 + "@" * 200_000
    assert without_addresses(text) == (text, 0)


@pytest.mark.parametrize(
    ("expression", "denied", "found"),
    [
        ("MIT", [], None),
        ("MIT", ["GPL-3.0"], None),
        ("GPL-3.0", ["GPL-3.0"], "GPL-3.0"),
        ("GPL-3.0-or-later", ["gpl-3.0"], "GPL-3.0-or-later"),
        ("GPL-3.0-only", ["GPL-3.0-only"], "GPL-3.0-only"),
        ("MIT OR GPL-3.0", ["GPL-3.0"], None),
        ("(AGPL-3.0 OR GPL-3.0)", ["GPL-3.0", "AGPL-3.0"], "AGPL-3.0"),
        ("MIT AND GPL-3.0", ["GPL-3.0"], "GPL-3.0"),
        ("GPL-2.0 WITH Classpath-exception-2.0", ["GPL-2.0"], "GPL-2.0"),
        (None, ["GPL-3.0"], None),
        (None, ["unknown"], "unknown"),
    ],
)
def test_denied_licences(expression: str | None, denied: list[str], found: str | None) -> None:
    assert denied_license(expression, denied) == found


PROBLEM = (
    "Return the longest run of fields in which no two neighbours were planted with the same crop."
)


@pytest.fixture
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps({"prompt": f'def f(a):\n    """{PROBLEM}"""\n', "id": 1}) + "\n")
    monkeypatch.setenv("AIFORGE_BENCHMARK_FILES", json.dumps([str(path)]))
    _forget()
    yield path
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    from aiforge.settings import get_settings

    get_settings.cache_clear()
    contamination._digest.cache_clear()


def test_a_benchmark_of_the_operator_is_found_whatever_its_layout(benchmark: Path) -> None:
    shouted = "\n  # ".join(PROBLEM.upper().split())
    texts = [f"x = 1\n# {shouted}\n", "nothing of it", PROBLEM[:40], f"{PROBLEM[:30]}\n", PROBLEM]
    assert contamination.contaminated(texts) == [True, False, False, False, True]


def test_the_name_of_the_benchmarks_changes_with_them(benchmark: Path) -> None:
    before = filters.versions()
    benchmark.write_text(json.dumps({"prompt": "Another problem."}))
    _forget()
    assert filters.versions() != before


def test_an_unreadable_benchmark_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for content in (b"\xff", b"[1]", b"{"):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match="AIFORGE_BENCHMARK_FILES"):
            benchmark_texts(path)
    with pytest.raises(InvalidInput):
        benchmark_texts(tmp_path / "absent.jsonl.gz")


WORDS = st.text(string.ascii_letters + "äß_ \n.,'(", max_size=300)


@CALM
@given(st.lists(WORDS, max_size=8), WORDS, WORDS)
def test_an_ngram_is_found_in_any_batch(texts: list[str], before: str, after: str) -> None:
    index = NgramIndex.of([PROBLEM])
    batch = [*texts, f"{before} {PROBLEM} {after}", *texts]
    found = index.shared(batch)
    assert found[len(texts)]
    assert found[: len(texts)] == found[len(texts) + 1 :]
    assert not any(found[: len(texts)])
    # Halves in two texts that stand beside one another are no whole.
    assert index.shared([PROBLEM[:44], PROBLEM[44:]]) == [False, False]


def test_the_shipped_problems_are_recognised() -> None:
    path = os.environ.get("AIFORGE_TEST_HUMANEVAL")
    if not path:
        pytest.skip("AIFORGE_TEST_HUMANEVAL names no HumanEval.jsonl.gz")
    texts = benchmark_texts(Path(path))
    assert sum(contamination.contaminated(texts)) == len(texts) == 164
    own = [p.read_text() for p in Path(aiforge.__file__).parent.rglob("*.py")]
    assert not any(contamination.contaminated(own))


def test_a_build_takes_it_all_out_and_says_how_much(
    benchmark: Path, storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    files = corpus_files()
    leak = module("wombat").replace("Keeps every wombat in one place", SECRETS["AWS Access Key"])
    files["zoo/wombat.py"] = leak.replace('key = "', "")
    files["zoo/problem.py"] = f'def f(a):\n    """{PROBLEM}"""\n    return max(a)\n'
    files["zoo/mail.py"] = module("marten").replace("All about", "By marten@zoo.org, all about")
    result = run_build(write_snapshot(files))
    chunks = next(stage for stage in result.report.stages if stage.stage == "chunks")
    assert chunks.dropped["holds a secret"] >= 1
    assert chunks.dropped["holds a problem of a benchmark"] == 1
    assert result.report.cleaned == {"e-mail address": 1}
    text = json.dumps(rows_of(storage, "train") + rows_of(storage, "validation"))
    for leaked in ("AKIA", "no two neighbours", "marten@"):
        assert leaked not in text
    denied = run_build(
        write_snapshot(files, revision="r2"),
        dataset_id="ds-2",
        denied_licenses=["GPL-3.0"],
        decontaminate=False,
    )
    assert "holds a problem of a benchmark" not in str(denied.report)


def test_words_from_elsewhere_are_judged_in_questions_and_answers(benchmark: Path) -> None:
    (judge,) = filters.EXAMPLE_FILTERS
    rows = [
        {"kind": kind, "instruction": "Q?", "output": text}
        for kind in ("commit", "docstring")
        for text in ("fine", SECRETS["Secret Keyword"], "a@b.com", PROBLEM)
    ]
    assert judge.judge(rows, RaftConfig()) == [
        None,
        "holds a secret",
        "holds an e-mail address",
        "holds a problem of a benchmark",
        *[None] * 4,
    ]
