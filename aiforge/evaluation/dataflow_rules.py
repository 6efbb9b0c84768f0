"""How each language's syntax tree says which variable gets its value from which.

A table of node names and habits per language, as CodeXGLUE's reference implementation has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

Pair = tuple["Node | None", "Node | None"]


def _fields(name: str, value: str) -> Callable[[Node], Pair]:
    return lambda node: (node.child_by_field_name(name), node.child_by_field_name(value))


def _two_children(node: Node) -> Pair:
    children = node.children
    return children[0], children[1] if len(children) == 2 else None


def _function_head(node: Node) -> Pair:
    children = node.children
    return children[1], children[2] if len(children) >= 3 else None


_left_and_right = _fields("left", "right")


@dataclass(frozen=True)
class Rules:
    """What the nodes of one language mean.

    Attributes:
        definitions: A name that may get a value; ``parts`` finds both.
        branches: Nodes with alternatives. ``alternatives`` are the children that begin from the
            state before the node; without it all children from the first ``branches`` one on do.
        keeps_before: After a branch, what held before it may still hold.
        loops: Their children are walked, then again those behind the ``head``.
        each_loops: Their names get values from a container; ``each`` finds both.
        first: Children that are walked before the others.
        tuples: Sides of an assignment are paired element by element.
    """

    definitions: frozenset[str]
    parts: Callable[[Node], Pair]
    assignments: frozenset[str]
    branches: frozenset[str]
    loops: frozenset[str]
    increments: frozenset[str] = frozenset()
    each_loops: frozenset[str] = frozenset()
    each: Callable[[Node], Pair] = _left_and_right
    whiles: frozenset[str] = frozenset()
    alternatives: frozenset[str] = frozenset()
    keeps_before: bool = False
    head: str = "local_variable_declaration"
    first: frozenset[str] = frozenset()
    tuples: bool = False


def _set(*names: str) -> frozenset[str]:
    return frozenset(names)


_PYTHON = Rules(
    definitions=_set("default_parameter"),
    parts=_fields("name", "value"),
    assignments=_set("assignment", "augmented_assignment", "for_in_clause"),
    branches=_set("if_statement"),
    alternatives=_set("elif_clause", "else_clause"),
    loops=frozenset(),
    each_loops=_set("for_statement"),
    whiles=_set("while_statement"),
    first=_set("for_in_clause"),
    tuples=True,
)
_JAVA = Rules(
    definitions=_set("variable_declarator"),
    parts=_fields("name", "value"),
    assignments=_set("assignment_expression"),
    increments=_set("update_expression"),
    branches=_set("if_statement", "else"),
    loops=_set("for_statement"),
    each_loops=_set("enhanced_for_statement"),
    each=_fields("name", "value"),
    whiles=_set("while_statement"),
)
_JAVASCRIPT = Rules(
    definitions=_set("variable_declarator"),
    parts=_fields("name", "value"),
    assignments=_set("assignment_pattern", "augmented_assignment_expression"),
    increments=_set("update_expression"),
    branches=_set("if_statement", "else"),
    keeps_before=True,
    loops=_set("for_statement"),
    head="variable_declaration",
    whiles=_set("while_statement"),
)
_GO = Rules(
    definitions=_set("var_spec"),
    parts=_fields("name", "value"),
    assignments=_set("assignment_statement"),
    increments=_set("inc_statement"),
    branches=_set("if_statement", "else"),
    keeps_before=True,
    loops=_set("for_statement"),
    head="for_clause",
)
# The reference reads C and C++ by the rules of C#.
_C = Rules(
    definitions=_set("variable_declarator"),
    parts=_two_children,
    assignments=_set("assignment_expression"),
    increments=_set("postfix_unary_expression"),
    branches=_set("if_statement", "else"),
    loops=_set("for_statement"),
    each_loops=_set("for_each_statement"),
    whiles=_set("while_statement"),
)
_RUST = Rules(
    definitions=_set("function_item"),
    parts=_function_head,
    assignments=_set("assignment_expression", "compound_assignment_expr", "let_expression"),
    branches=_set("if_expression", "if_let_expression", "match_expression", "else"),
    loops=_set("for_expression"),
    each_loops=_set("for_each_statement"),
    whiles=_set("while_expression", "while_let_expression", "loop_expression"),
)

RULES: Mapping[str, Rules] = {
    "c": _C,
    "cpp": _C,
    "go": _GO,
    "java": _JAVA,
    "javascript": _JAVASCRIPT,
    "python": _PYTHON,
    "rust": _RUST,
}
