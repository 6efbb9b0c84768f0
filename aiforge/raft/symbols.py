"""What a file declares: functions, classes and headings, with what is said of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aiforge.languages import captures
from aiforge.raft.headings import find_headings

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

SymbolKind = Literal["function", "class", "section"]

# Calls of plain names alone: what `x.close()` means, nobody can tell without types.
_C = """
(function_definition) @function
(struct_specifier body: (_)) @class
(call_expression function: (identifier) @call)
"""
_JAVASCRIPT = """
(function_declaration) @function
(generator_function_declaration) @function
(method_definition) @function
(variable_declarator value: (arrow_function)) @function
(class_declaration) @class
(call_expression function: (identifier) @call)
"""
_TYPESCRIPT = _JAVASCRIPT + "(interface_declaration) @class (abstract_class_declaration) @class"
_QUERIES = {
    "python": """
        (function_definition) @function
        (class_definition) @class
        (call function: (identifier) @call)
    """,
    "javascript": _JAVASCRIPT,
    "typescript": _TYPESCRIPT,
    "tsx": _TYPESCRIPT,
    "java": """
        (method_declaration) @function
        (constructor_declaration) @function
        (class_declaration) @class
        (interface_declaration) @class
        (enum_declaration) @class
        (record_declaration) @class
        (method_invocation !object name: (identifier) @call)
    """,
    "go": """
        (function_declaration) @function
        (method_declaration) @function
        (type_spec) @class
        (call_expression function: (identifier) @call)
    """,
    "rust": """
        (function_item) @function
        (struct_item) @class
        (enum_item) @class
        (trait_item) @class
        (impl_item) @scope
        (call_expression function: (identifier) @call)
    """,
    "c": _C,
    "cpp": _C
    + """
        (class_specifier body: (_)) @class
    """,
}

# Nodes around a definition that belong to it.
_WRAPPERS = frozenset(
    {
        *("decorated_definition", "export_statement", "template_declaration"),
        *("lexical_declaration", "type_declaration"),
    }
)
_COMMENTS = frozenset({"comment", "line_comment", "block_comment"})
_RECEIVERS = re.compile(r"^(?:self|cls|this|&(?:'\w+ )?(?:mut )?self|mut self|\*|/|void)$")
_COMMENT_MARKS = re.compile(r"^\s*(?:/\*+!?|\*+/|\*|//[/!]?|#+)?[ \t]?(.*?)(?:\*+/)?\s*$")
_MAX_CALLS = 40
_MAX_DOC = 2000


@dataclass
class Symbol:
    """Something that a file declares; offsets are bytes, ``start`` includes its comments."""

    kind: SymbolKind
    name: str
    qualified: str
    start: int
    end: int
    doc: str = ""
    doc_end: int = 0
    signature: str = ""
    head_start: int = 0
    head_end: int = 0
    parameters: list[str] = field(default_factory=list)
    returns: str = ""
    calls: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def find_symbols(text: str, language: str | None, tree: Tree | None) -> list[Symbol]:
    """Symbols of a file in their order; none for a language that is not known."""
    if language in ("markdown", "rst"):
        return list(_sections(text, language))
    if tree is None or language not in _QUERIES:
        return []
    found = captures(language, tree, _QUERIES[language])
    functions = [("function", node) for node in found.get("function", [])]
    others = [("class", node) for node in found.get("class", [])]
    scopes = [("scope", node) for node in found.get("scope", [])]
    nodes = sorted(functions + others + scopes, key=lambda n: (n[1].start_byte, -n[1].end_byte))
    symbols = list(_declared(nodes, text.encode(), language))
    _attach_calls(symbols, found.get("call", []))
    return symbols


def _sections(text: str, language: str) -> Iterator[Symbol]:
    data = text.encode()
    headings = find_headings(text, language)
    ends = [heading.start for heading in headings[1:]] + [len(data)]
    for heading, end in zip(headings, ends, strict=True):
        body = data[heading.body : end].decode(errors="replace").strip("\n")
        yield Symbol(
            "section",
            heading.title,
            heading.title,
            heading.start,
            end,
            doc=body,
            doc_end=end,
            signature=heading.title,
            head_start=heading.start,
            head_end=heading.body,
        )


def _declared(nodes: Iterable[tuple[str, Node]], data: bytes, language: str) -> Iterator[Symbol]:
    enclosing: list[tuple[int, str]] = []
    for kind, node in nodes:
        name = _name(node)
        while enclosing and enclosing[-1][0] <= node.start_byte:
            enclosing.pop()
        if not name:
            continue
        outer = [*(scope for _, scope in enclosing), *_receiver_type(node, language)]
        enclosing.append((node.end_byte, name))
        if kind == "scope":
            continue
        symbol = _symbol("function" if kind == "function" else "class", node, name, data, language)
        symbol.qualified = ".".join([*outer, name])
        yield symbol


def _symbol(kind: SymbolKind, node: Node, name: str, data: bytes, language: str) -> Symbol:
    outer = node
    while outer.parent is not None and outer.parent.type in _WRAPPERS:
        outer = outer.parent
    function = node.child_by_field_name("value") if node.type == "variable_declarator" else node
    function = function or node
    body = function.child_by_field_name("body")
    head_end = body.start_byte if body is not None else node.end_byte
    head = data[node.start_byte : head_end]
    stripped = head.decode(errors="replace").rstrip(" \t\n{")
    symbol = Symbol(
        kind,
        name,
        name,
        outer.start_byte,
        node.end_byte,
        signature=stripped,
        head_start=node.start_byte,
        head_end=node.start_byte + len(stripped.encode()),
        doc_end=node.start_byte + len(stripped.encode()),
    )
    if kind == "function":
        symbol.parameters = _parameters(function)
        symbol.returns = _returns(function)
    if language == "python":
        _docstring(symbol, body)
    else:
        _leading_comment(symbol, outer)
    return symbol


def _name(node: Node) -> str:
    found = node.child_by_field_name("name")
    if found is None and node.type == "impl_item":
        found = node.child_by_field_name("type")
    declarator = node.child_by_field_name("declarator")
    while found is None and declarator is not None:
        inner = declarator.child_by_field_name("declarator")
        if inner is None:
            found = declarator
        declarator = inner
    return _text(found).replace("::", ".") if found is not None else ""


def _receiver_type(node: Node, language: str) -> list[str]:
    receiver = node.child_by_field_name("receiver") if language == "go" else None
    if receiver is None:
        return []
    return re.findall(r"(\w+)(?:\[[^\]]*\])?\)$", _text(receiver))


def _parameters(function: Node) -> list[str]:
    found = function.child_by_field_name("parameters")
    declarator = function.child_by_field_name("declarator")
    while found is None and declarator is not None:
        found = declarator.child_by_field_name("parameters")
        declarator = declarator.child_by_field_name("declarator")
    if found is None:
        return []
    named = (_flat(child) for child in found.named_children if child.type not in _COMMENTS)
    return [text for text in named if not _RECEIVERS.match(text)]


def _returns(function: Node) -> str:
    for name in ("return_type", "result", "type"):
        if (found := function.child_by_field_name(name)) is not None:
            return _flat(found).lstrip(": ")
    return ""


def _docstring(symbol: Symbol, body: Node | None) -> None:
    first = body.named_children[0] if body is not None and body.named_children else None
    if first is None or first.type != "expression_statement" or not first.named_children:
        return
    string = first.named_children[0]
    if string.type != "string":
        return
    content = "".join(_text(c) for c in string.children if c.type == "string_content")
    symbol.doc = inspect.cleandoc(content)[:_MAX_DOC].strip()
    symbol.doc_end = string.end_byte


def _leading_comment(symbol: Symbol, outer: Node) -> None:
    lines: list[str] = []
    below: Node = outer
    node = outer.prev_sibling
    while node is not None and node.type in _COMMENTS:
        if below.start_point[0] - node.end_point[0] > 1:
            break
        text = _text(node).rstrip("\n").split("\n")
        lines = [_COMMENT_MARKS.sub(r"\1", line) for line in text] + lines
        symbol.start = node.start_byte
        below, node = node, node.prev_sibling
    symbol.doc = inspect.cleandoc("\n".join(lines))[:_MAX_DOC].strip()


def _attach_calls(symbols: list[Symbol], calls: list[Node]) -> None:
    """Give each call to the innermost function around it."""
    functions = [symbol for symbol in symbols if symbol.kind == "function"]
    open_functions: list[Symbol] = []
    position = 0
    for call in calls:
        while position < len(functions) and functions[position].head_start <= call.start_byte:
            open_functions.append(functions[position])
            position += 1
        while open_functions and open_functions[-1].end <= call.start_byte:
            open_functions.pop()
        if open_functions and len(known := open_functions[-1].calls) < _MAX_CALLS:
            name = _text(call)
            if name not in known:
                known.append(name)


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")


def _flat(node: Node) -> str:
    return " ".join(_text(node).split())
