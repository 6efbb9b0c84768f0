"""CodeBLEU (Ren et al., arXiv 2009.10297): how near code is to a reference, 0 to 1.

The mean of four matches: n-grams of tokens (BLEU), the same with keywords weighing more, subtrees
of the syntax, and data flow. Equal to the package ``codebleu`` 0.7.0 but for faults of that one:

* There a data flow match of 0 counts as 1 (``dataflow or 1``), so that an empty or unparsable
  candidate scores 0.25 and more. Here it counts as 0 where the reference has any data flow, and
  such a candidate scores 0 in all. A reference without data flow leaves nothing to compare; its
  match is 1, as there.
* There tokens are what white space divides, unless told otherwise. Here they are the lexer's.
* There columns count bytes but cut characters, so that tokens behind a non-ASCII character on
  their line are wrong ones. Here they are right.
* There the weighted match, which is a recall, has a brevity penalty against a length of 2, which
  only candidates of one token feel. Here it has none.
* There some orders depend on Python's hash seed. Here they do not.
"""

from __future__ import annotations

import io
import math
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from aiforge.evaluation.dataflow import data_flow
from aiforge.evaluation.dataflow_rules import RULES
from aiforge.languages import parse

if TYPE_CHECKING:
    from tree_sitter import Node

Tokenizer = Callable[[str], list[str]]

_ORDERS = (1, 2, 3, 4)
_KEYWORD_WEIGHT, _OTHER_WEIGHT = 1.0, 0.2
_SMOOTHING = 0.1

_COMMENT_OR_STRING = re.compile(
    r"//.*?$|/\*.*?\*/|'(?:\\.|[^\\'])*'|\"(?:\\.|[^\\\"])*\"", re.DOTALL | re.MULTILINE
)

# As the package has them, oddities included.
_KEYWORDS: Mapping[str, str] = {
    "c": """auto else long switch break enum register typedef case extern return union char float
        short unsigned const for signed void continue goto sizeof volatile default if static while
        do int struct _Packed double""",
    "cpp": """auto const double float int short struct unsigned break continue else for long signed
        switch void case default enum goto register sizeof typedef volatile char do extern if
        return static union while asm dynamic_cast namespace reinterpret_cast bool explicit new
        static_cast typeid catch false try operator template typename class friend private this
        using const_cast inline public throw virtual delete mutable protected true wchar_t and
        bitand compl not_eq or_eq xor_eq and_eq bitor not or xor cin endl INT_MIN iomanip main npos
        std cout include INT_MAX iostream MAX_RAND NULL string""",
    "go": """break default func interface select case defer go map struct chan else goto package
        switch const fallthrough if range type continue for import return var false true""",
    "java": """abstract assert boolean break byte case catch char class const continue default do
        double else enum extends final finally float for goto if implements import instanceof int
        interface long native new package private protected public return short static strictfp
        super switch synchronized this throw throws transient try void volatile while""",
    "javascript": """await break case catch class const continue debugger default delete do else
        enum export extends false finally for function if implements import in instanceof interface
        let new null package private protected public return super switch static this throw try
        True typeof var void while with yield""",
    "python": """False None True and as assert async await break class continue def del elif else
        except finally for from global if import in is lambda nonlocal not or pass raise return try
        while with yield match case type""",
    "rust": """as async await block bool break char const continue crate default dyn else enum expr
        extern f32 f64 false fn for i128 i16 i32 i64 i8 ident if impl in isize item let lifetime
        literal loop macro_rules! match meta mod move mut pat path pub ref return self static stmt
        str struct super trait true tt ty type u128 u16 u32 u64 u8 union unsafe use usize vis where
        while yield""",
}

LANGUAGES = frozenset(RULES)
"""What can be scored."""


@dataclass(frozen=True)
class CodeBleu:
    """The score and its parts, each 0 to 1."""

    score: float
    ngram: float
    weighted_ngram: float
    syntax: float
    data_flow: float


def codebleu(
    reference: str, candidate: str, language: str, tokenizer: Tokenizer | None = None
) -> CodeBleu:
    """Compare a candidate with a reference.

    Args:
        reference: Code that parses.
        candidate: Any text.
        language: One of ``LANGUAGES``.
        tokenizer: For the n-grams; the language's lexer by default.
    """
    reference, candidate = reference.strip(), candidate.strip()
    split = tokenizer or (lambda text: lex(text, language))
    wanted, given = split(reference), split(candidate)
    ngram = _brevity(wanted, given) * _bleu(wanted, given, _precision)
    weighted = _bleu(wanted, given, _weighted_recall(_keywords(language)))
    wanted_source = strip_comments(reference, language).encode()
    given_source = strip_comments(candidate, language).encode()
    wanted_root, given_root = _root(wanted_source, language), _root(given_source, language)
    if wanted_root is None or given_root is None or not _is_code(given_root):
        return CodeBleu(0.0, ngram, weighted, 0.0, 0.0)
    syntax = _syntax_match(wanted_root, given_root)
    flow = _flow_match(
        data_flow(wanted_root, wanted_source, language),
        data_flow(given_root, given_source, language),
    )
    return CodeBleu((ngram + weighted + syntax + flow) / 4, ngram, weighted, syntax, flow)


def lex(text: str, language: str) -> list[str]:
    """The tokens of a text by the language's grammar, comments left out, strings in their parts."""
    source = text.encode()
    root = _root(source, language)
    tokens: list[str] = []
    stack = [root] if root is not None else []
    while stack:
        node = stack.pop()
        if node.children:
            stack += reversed(node.children)
        elif "comment" not in node.type and node.end_byte > node.start_byte:
            tokens.append(source[node.start_byte : node.end_byte].decode("utf-8", "replace"))
    return tokens


def strip_comments(source: str, language: str) -> str:
    """The source without comments, and for Python without docstrings; as it is where it is broken.

    Blank lines go too.
    """
    if language != "python":
        without = _COMMENT_OR_STRING.sub(
            lambda found: " " if found[0].startswith("/") else found[0], source
        )
    else:
        try:
            without = _strip_python(source)
        except (tokenize.TokenError, SyntaxError):
            return source
    return "\n".join(line for line in without.split("\n") if line.strip())


def _strip_python(source: str) -> str:
    pieces: list[str] = []
    before, line, column = tokenize.INDENT, -1, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        start_line, start_column = token.start
        if start_line > line:
            column = 0
        if start_column > column:
            pieces.append(" " * (start_column - column))
        docstring = token.type == tokenize.STRING and (
            before in (tokenize.INDENT, tokenize.NEWLINE) or start_column == 0
        )
        if token.type != tokenize.COMMENT and not docstring:
            pieces.append(token.string)
        before = token.type
        line, column = token.end
    return "".join(pieces)


def _root(source: bytes, language: str) -> Node | None:
    tree = parse(language, source)
    return tree.root_node if tree is not None else None


def _is_code(root: Node) -> bool:
    """Whether any part of a text parsed; what is cut off or has a fault somewhere still is code."""
    stack = [root]
    while stack:
        node = stack.pop()
        if node.is_named and node.children and not node.has_error:
            return True
        stack += node.children
    return False


@cache
def _keywords(language: str) -> frozenset[str]:
    return frozenset(_KEYWORDS[language].split())


_Counts = Counter[tuple[str, ...]]
_Match = Callable[[_Counts, _Counts, int], tuple[float, float]]


def _bleu(reference: Sequence[str], candidate: Sequence[str], match: _Match) -> float:
    """Geometric mean over orders 1 to 4, smoothed by method 1 of Chen and Cherry (W14-3346)."""
    logarithms = []
    for order in _ORDERS:
        wanted, given = _ngrams(reference, order), _ngrams(candidate, order)
        matched, total = match(wanted, given, order)
        if order == 1 and not matched:
            return 0.0
        logarithms.append(math.log((matched or _SMOOTHING) / total) / len(_ORDERS))
    return math.exp(math.fsum(logarithms))


def _brevity(reference: Sequence[str], candidate: Sequence[str]) -> float:
    if len(candidate) > len(reference):
        return 1.0
    return math.exp(1 - len(reference) / len(candidate)) if candidate else 0.0


def _ngrams(tokens: Sequence[str], order: int) -> _Counts:
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def _precision(wanted: _Counts, given: _Counts, _: int) -> tuple[float, float]:
    return (wanted & given).total(), max(1, given.total())


def _weighted_recall(keywords: frozenset[str]) -> _Match:
    def weigh(counts: _Counts) -> float:
        total = 0.0
        for (token,), count in counts.items():
            total += count * (_KEYWORD_WEIGHT if token in keywords else _OTHER_WEIGHT)
        return total

    def match(wanted: _Counts, given: _Counts, order: int) -> tuple[float, float]:
        both = wanted & given
        if order > 1:
            return both.total(), max(1, wanted.total())
        return weigh(both), max(1.0, weigh(wanted))

    return match


def _syntax_match(reference: Node, candidate: Node) -> float:
    """Share of the reference's subtrees that the candidate has too."""
    wanted, given = _subtrees(reference), set(_subtrees(candidate))
    return sum(tree in given for tree in wanted) / len(wanted)


def _subtrees(root: Node) -> list[str]:
    """S-expressions of all inner nodes; they tell kinds and fields, not texts."""
    found, stack = [], [root]
    while stack:
        node = stack.pop()
        found.append(str(node))
        stack += [child for child in node.children if child.children]
    return found


def _flow_match(
    wanted: Sequence[tuple[str, str, tuple[str, ...]]],
    given: Sequence[tuple[str, str, tuple[str, ...]]],
) -> float:
    if not wanted:
        return 1.0
    return (Counter(wanted) & Counter(given)).total() / len(wanted)
