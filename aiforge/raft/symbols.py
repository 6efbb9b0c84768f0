"""What a file declares: functions, classes and headings, with what is said of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

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
    "csharp": """
        (method_declaration) @function
        (constructor_declaration) @function
        (local_function_statement) @function
        (class_declaration) @class
        (interface_declaration) @class
        (struct_declaration) @class
        (record_declaration) @class
        (enum_declaration) @class
        (invocation_expression function: (identifier) @call)
    """,
    "ruby": """
        (method) @function
        (singleton_method) @function
        (class) @class
        (module) @class
        (call !receiver method: (identifier) @call)
    """,
    "php": """
        (function_definition) @function
        (method_declaration) @function
        (class_declaration) @class
        (interface_declaration) @class
        (trait_declaration) @class
        (function_call_expression function: (name) @call)
    """,
    "shell": """
        (function_definition) @function
        (command name: (command_name) @call)
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
_XML_TAG = re.compile(r"</?[a-z]+(?: [^<>]*)?/?>")
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
    nested: bool = False
    """It stands inside of a function."""


def find_symbols(text: str, language: str | None, tree: Tree | None) -> list[Symbol]:
    """Symbols of a file in their order; none for a language that is not known."""
    if language in ("markdown", "rst"):
        return list(_sections(text, language))
    if tree is None or language not in _QUERIES:
        return []
    found = captures(language, tree, _QUERIES[language])
    finder = _Finder(text.encode(), language)
    symbols = list(finder.declared(found))
    finder.attach_calls(symbols, found.get("call", []))
    return symbols


def _sections(text: str, language: str) -> Iterator[Symbol]:
    data = text.encode()
    headings = find_headings(text, language)
    ends = [*(heading.start for heading in headings), len(data)][1:]
    for heading, end in zip(headings, ends, strict=False):
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


class _Finder:
    """Reads symbols off the nodes of one file."""

    def __init__(self, data: bytes, language: str) -> None:
        self._data = data
        self._language = language

    def declared(self, found: dict[str, list[Node]]) -> Iterator[Symbol]:
        """Symbols of captured nodes, in the order of the source."""
        nodes = sorted(
            (
                (kind, node)
                for kind in ("function", "class", "scope")
                for node in found.get(kind, ())
            ),
            key=lambda item: (item[1].start_byte, -item[1].end_byte),
        )
        enclosing: list[tuple[int, str, str]] = []
        for kind, node in nodes:
            name = self._name(node)
            while enclosing and enclosing[-1][0] <= node.start_byte:
                enclosing.pop()
            if not name:
                continue
            outer = [*(scope for _, scope, _ in enclosing), *self._receiver_type(node)]
            nested = any(around == "function" for _, _, around in enclosing)
            enclosing.append((node.end_byte, name, kind))
            if kind != "scope":
                symbol = self._symbol("function" if kind == "function" else "class", node, name)
                symbol.qualified = ".".join([*outer, name])
                symbol.nested = nested
                yield symbol

    def attach_calls(self, symbols: list[Symbol], calls: list[Node]) -> None:
        """Give each call to the innermost function around it."""
        functions = [symbol for symbol in symbols if symbol.kind == "function"]
        around: list[Symbol] = []
        position = 0
        for call in calls:
            start = call.start_byte
            while position < len(functions) and functions[position].head_start <= start:
                around.append(functions[position])
                position += 1
            while around and around[-1].end <= start:
                around.pop()
            if around and len(known := around[-1].calls) < _MAX_CALLS:
                name = self._text(call)
                if name not in known:
                    known.append(name)

    def _symbol(self, kind: SymbolKind, node: Node, name: str) -> Symbol:
        outer = node
        while outer.parent is not None and outer.parent.type in _WRAPPERS:
            outer = outer.parent
        value = node.child_by_field_name("value") if node.type == "variable_declarator" else None
        function = value or node
        body = function.child_by_field_name("body")
        start = node.start_byte
        end = body.start_byte if body is not None else node.end_byte
        signature = self._data[start:end].rstrip(b" \t\n{")
        if self._language == "ruby":
            # A comment below the head stands before the body, not in it.
            signature = signature.partition(b"\n")[0]
        symbol = Symbol(
            kind,
            name,
            name,
            outer.start_byte,
            node.end_byte,
            signature=signature.decode(errors="replace"),
            head_start=start,
            head_end=start + len(signature),
            doc_end=start + len(signature),
        )
        if kind == "function":
            symbol.parameters = self._parameters(function)
            symbol.returns = self._returns(function)
        if self._language == "python":
            self._docstring(symbol, body)
        else:
            self._leading_comment(symbol, outer)
        return symbol

    def _name(self, node: Node) -> str:
        found = node.child_by_field_name("name")
        if found is None and node.type == "impl_item":
            found = node.child_by_field_name("type")
        declarator = node.child_by_field_name("declarator") if found is None else None
        while found is None and declarator is not None:
            inner = declarator.child_by_field_name("declarator")
            if inner is None:
                found = declarator
            declarator = inner
        return self._text(found).replace("::", ".") if found is not None else ""

    def _receiver_type(self, node: Node) -> list[str]:
        receiver = node.child_by_field_name("receiver") if self._language == "go" else None
        if receiver is None:
            return []
        return re.findall(r"(\w+)(?:\[[^\]]*\])?\)$", self._text(receiver))

    def _parameters(self, function: Node) -> list[str]:
        found = function.child_by_field_name("parameters")
        declarator = function.child_by_field_name("declarator") if found is None else None
        while found is None and declarator is not None:
            found = declarator.child_by_field_name("parameters")
            declarator = declarator.child_by_field_name("declarator")
        if found is None:
            return []
        named = (self._flat(c) for c in found.named_children if c.type not in _COMMENTS)
        return [text for text in named if not _RECEIVERS.match(text)]

    def _returns(self, function: Node) -> str:
        for name in ("return_type", "returns", "result", "type"):
            if (found := function.child_by_field_name(name)) is not None:
                return self._flat(found).lstrip(": ")
        return ""

    def _docstring(self, symbol: Symbol, body: Node | None) -> None:
        if body is None or not body.named_child_count:
            return
        first = body.named_children[0]
        if first.type != "expression_statement" or not first.named_child_count:
            return
        string = first.named_children[0]
        if string.type != "string":
            return
        content = "".join(self._text(c) for c in string.children if c.type == "string_content")
        symbol.doc = inspect.cleandoc(content)[:_MAX_DOC].strip()
        symbol.doc_end = string.end_byte

    def _leading_comment(self, symbol: Symbol, outer: Node) -> None:
        lines: list[str] = []
        below: Node = outer
        node = outer.prev_sibling
        if node is None and outer.parent is not None and outer.parent.type == "body_statement":
            node = outer.parent.prev_sibling
        while node is not None and node.type in _COMMENTS:
            if below.start_point[0] - node.end_point[0] > 1:
                break
            text = self._text(node).rstrip("\n").split("\n")
            lines = [_COMMENT_MARKS.sub(r"\1", line) for line in text] + lines
            symbol.start = node.start_byte
            below, node = node, node.prev_sibling
        said = inspect.cleandoc("\n".join(lines))
        if self._language == "csharp":
            said = _XML_TAG.sub("", said)
        symbol.doc = said[:_MAX_DOC].strip()

    def _text(self, node: Node) -> str:
        # Not node.text: that asks the parser's callback again, piece by piece.
        return self._data[node.start_byte : node.end_byte].decode(errors="replace")

    def _flat(self, node: Node) -> str:
        return " ".join(self._text(node).split())
