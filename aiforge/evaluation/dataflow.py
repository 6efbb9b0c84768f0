"""Which variable's value comes from which, as CodeBLEU compares it.

The rules are those of CodeXGLUE's reference implementation (Ren et al., arXiv 2009.10297; Guo et
al., GraphCodeBERT, arXiv 2009.08366), which the scores in the literature were made with: its
walks differ per language by the names of nodes and a few habits, which stand here in a table.
They are heuristics, and kept as they are. Where the reference's result depends on Python's hash
seed, names keep the order in which they were met.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiforge.evaluation.dataflow_rules import RULES, Rules

if TYPE_CHECKING:
    from tree_sitter import Node

States = dict[str, list[int]]
"""Where each variable got its value last, as token numbers."""

Item = tuple[str, str, tuple[str, ...]]
"""A flow with variables numbered by their first appearance: name, relation, sources."""

_STRINGS = frozenset({"string_literal", "string", "character_literal"})
_COMES, _COMPUTED = "comesFrom", "computedFrom"


@dataclass(frozen=True)
class Edge:
    """The token numbered ``token`` gets its value from others."""

    name: str
    token: int
    relation: str
    names: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()


class _NoFlow(Exception):
    """The tree lacks a part that a rule counts on; the reference gives up on the text then."""


def data_flow(root: Node, source: bytes, language: str) -> list[Item]:
    """The normalised data flow of a syntax tree over UTF-8 source."""
    walk = _Walk(RULES[language], root, source)
    try:
        edges, _ = walk.visit(root, {})
    except (_NoFlow, RecursionError):
        edges = []
    return _normalised(_merged(edges))


class _Walk:
    def __init__(self, rules: Rules, root: Node, source: bytes) -> None:
        self._rules = rules
        self._tokens: dict[tuple[int, int], tuple[int, str]] = {}
        for number, node in enumerate(_leaves(root)):
            text = source[node.start_byte : node.end_byte].decode("utf-8", "replace")
            self._tokens[node.start_byte, node.end_byte] = number, text

    def visit(self, node: Node | None, states: States) -> tuple[list[Edge], States]:
        """The edges below a node, and where variables got their values after it."""
        if node is None:
            raise _NoFlow
        rules, kind = self._rules, node.type
        states = dict(states)
        if _is_leaf(node):
            return self._leaf(node, states)
        if kind in rules.definitions:
            return self._definition(node, states)
        if kind in rules.assignments:
            return self._assignment(node, states)
        if kind in rules.increments:
            return self._increment(node, states)
        if kind in rules.branches:
            return self._branch(node, states)
        if kind in rules.loops:
            return self._loop(node, states)
        if kind in rules.each_loops:
            return self._each(node, states)
        if kind in rules.whiles:
            edges, states = self._sequence(node.children * 2, states)
            return _joined(edges), states
        early = [child for child in node.children if child.type in rules.first]
        late = [child for child in node.children if child.type not in rules.first]
        edges, states = self._sequence(early + late, states)
        return _ordered(edges), states

    def _sequence(self, nodes: Iterable[Node | None], states: States) -> tuple[list[Edge], States]:
        edges: list[Edge] = []
        for node in nodes:
            found, states = self.visit(node, states)
            edges += found
        return edges, states

    def _token(self, leaf: Node) -> tuple[int, str]:
        try:
            return self._tokens[leaf.start_byte, leaf.end_byte]
        except KeyError:
            # A part of a string, met where an assignment's sides are paired child by child.
            raise _NoFlow from None

    def _leaf(self, node: Node, states: States) -> tuple[list[Edge], States]:
        number, text = self._token(node)
        if node.type == text:
            return [], states
        if text in states:
            return [Edge(text, number, _COMES, (text,), tuple(states[text]))], states
        if node.type == "identifier":
            states[text] = [number]
        return [Edge(text, number, _COMES)], states

    def _variables(self, node: Node | None) -> list[tuple[int, str]]:
        """Numbers and texts of the tokens below a node that are no keywords or punctuation."""
        if node is None:
            raise _NoFlow
        leaves = ((leaf, self._token(leaf)) for leaf in _leaves(node))
        return [token for leaf, token in leaves if leaf.type != token[1]]

    def _definition(self, node: Node, states: States) -> tuple[list[Edge], States]:
        name, value = self._rules.parts(node)
        if value is None:
            targets = self._variables(name)
            states |= {text: [number] for number, text in targets}
            return _ordered(Edge(text, number, _COMES) for number, text in targets), states
        names, values = self._variables(name), self._variables(value)
        edges, states = self.visit(value, states)
        edges += _pairs(names, values, _COMES)
        states |= {text: [number] for number, text in names}
        return _ordered(edges), states

    def _assignment(self, node: Node, states: States) -> tuple[list[Edge], States]:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if self._rules.tuples:
            return self._tuple_assignment(node, left, right, states)
        edges, states = self.visit(right, states)
        names = self._variables(left)
        edges += _pairs(names, self._variables(right), _COMPUTED)
        states |= {text: [number] for number, text in names}
        return _ordered(edges), states

    def _tuple_assignment(
        self, node: Node, left: Node | None, right: Node | None, states: States
    ) -> tuple[list[Edge], States]:
        lefts: list[Node | None]
        rights: list[Node | None]
        if node.type == "for_in_clause":
            lefts, rights = [left], [node.children[-1]]
        elif right is None:
            return [], states
        else:
            lefts, rights = _elements(left, right)
        edges, states = self._sequence(rights, states)
        edges += self._assign(lefts, rights, states)
        return _ordered(edges), states

    def _assign(
        self, lefts: Sequence[Node | None], rights: Sequence[Node | None], states: States
    ) -> list[Edge]:
        """Each left side is computed from its right side; ``states`` are brought up to date."""
        edges = []
        # As many as the shorter side has: what stands beyond has no partner.
        for left, right in zip(lefts, rights, strict=False):
            names, values = self._variables(left), self._variables(right)
            texts = tuple(text for _, text in values)
            numbers = tuple(number for number, _ in values)
            edges += [Edge(text, number, _COMPUTED, texts, numbers) for number, text in names]
            states |= {text: [number] for number, text in names}
        return edges

    def _increment(self, node: Node, states: States) -> tuple[list[Edge], States]:
        names = self._variables(node)
        states |= {text: [number] for number, text in names}
        return _ordered(_pairs(names, names, _COMPUTED)), states

    def _branch(self, node: Node, states: States) -> tuple[list[Edge], States]:
        rules = self._rules
        edges: list[Edge] = []
        current, others = dict(states), list[States]()
        in_alternative = False
        for child in node.children:
            if rules.alternatives:
                in_alternative = child.type in rules.alternatives
            else:
                in_alternative |= child.type in rules.branches
            if in_alternative:
                found, after = self.visit(child, states)
                others.append(after)
            else:
                found, current = self.visit(child, current)
            edges += found
        others.append(current)
        has_else = any("else" in one.type for one in (node, *node.children))
        if not has_else or rules.keeps_before:
            others.append(states)
        names = dict.fromkeys(name for one in others for name in one)
        merged = {
            name: sorted({number for one in others for number in one.get(name, ())})
            for name in names
        }
        return _ordered(edges), merged

    def _loop(self, node: Node, states: States) -> tuple[list[Edge], States]:
        edges, states = self._sequence(node.children, states)
        in_body = False
        for child in node.children:
            if in_body:
                found, states = self.visit(child, states)
                edges += found
            elif child.type == self._rules.head:
                in_body = True
                update = child.child_by_field_name("update")
                if child.type == "for_clause" and update is not None:
                    found, states = self.visit(update, states)
                    edges += found
        return _joined(edges), states

    def _each(self, node: Node, states: States) -> tuple[list[Edge], States]:
        """Walked twice, so that what the body changes reaches its beginning."""
        if self._rules.tuples:
            return self._tuple_each(node, states)
        name, value = self._rules.each(node)
        edges: list[Edge] = []
        for _ in range(2):
            found, states = self.visit(value, states)
            names = self._variables(name)
            edges += found + _pairs(names, self._variables(value), _COMPUTED)
            states |= {text: [number] for number, text in names}
            found, states = self.visit(node.child_by_field_name("body"), states)
            edges += found
        return _joined(edges), states

    def _tuple_each(self, node: Node, states: States) -> tuple[list[Edge], States]:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        lefts, rights = _elements(left, right)
        edges: list[Edge] = []
        for _ in range(2):
            found, states = self._sequence(rights, states)
            edges += found + self._assign(lefts, rights, states)
            if node.children[-1].type == "block":
                found, states = self.visit(node.children[-1], states)
                edges += found
        return _joined(edges), states


def _is_leaf(node: Node) -> bool:
    return (not node.children or node.type in _STRINGS) and node.type != "comment"


def _leaves(node: Node) -> list[Node]:
    """Tokens in order, strings whole, comments left out."""
    found, stack = [], [node]
    while stack:
        one = stack.pop()
        if _is_leaf(one):
            found.append(one)
        else:
            stack += reversed(one.children)
    return found


def _elements(left: Node | None, right: Node | None) -> tuple[list[Node | None], list[Node | None]]:
    """Both sides of an assignment taken apart at commas, where that gives as many on each."""
    if left is None or right is None:
        raise _NoFlow
    lefts: list[Node | None] = [child for child in left.children if child.type != ","]
    rights: list[Node | None] = [child for child in right.children if child.type != ","]
    if len(lefts) != len(rights):
        return [left], [right]
    return lefts or [left], rights or [right]


def _pairs(
    names: Iterable[tuple[int, str]], values: Sequence[tuple[int, str]], relation: str
) -> list[Edge]:
    return [
        Edge(text, number, relation, (source,), (position,))
        for number, text in names
        for position, source in values
    ]


def _ordered(edges: Iterable[Edge]) -> list[Edge]:
    return sorted(edges, key=lambda edge: edge.token)


def _joined(edges: Iterable[Edge]) -> list[Edge]:
    """Edges of one token and relation as one."""
    groups: dict[tuple[str, int, str], list[Edge]] = {}
    for edge in edges:
        groups.setdefault((edge.name, edge.token, edge.relation), []).append(edge)
    joined = []
    for (name, token, relation), group in groups.items():
        if len(group) == 1:
            joined += group
            continue
        names = dict.fromkeys(one for edge in group for one in edge.names)
        tokens = sorted({one for edge in group for one in edge.tokens})
        joined.append(Edge(name, token, relation, tuple(names), tuple(tokens)))
    return _ordered(joined)


def _merged(edges: Iterable[Edge]) -> list[Edge]:
    """One edge per token, of those that have a source or are one."""
    ordered = _ordered(edges)
    used = {number for edge in ordered for number in edge.tokens}
    used |= {edge.token for edge in ordered if edge.tokens}
    merged: dict[int, Edge] = {}
    for edge in ordered:
        if edge.token not in used:
            continue
        known = merged.get(edge.token)
        if known is None:
            merged[edge.token] = edge
            continue
        names = tuple(dict.fromkeys((*known.names, *edge.names)))
        tokens = tuple(dict.fromkeys((*known.tokens, *edge.tokens)))
        merged[edge.token] = Edge(edge.name, edge.token, edge.relation, names, tokens)
    return list(merged.values())


def _normalised(edges: Iterable[Edge]) -> list[Item]:
    numbers: dict[str, str] = {}

    def number(name: str) -> str:
        return numbers.setdefault(name, f"var_{len(numbers)}")

    items = []
    for edge in edges:
        sources = tuple(number(name) for name in edge.names)
        items.append((number(edge.name), edge.relation, sources))
    return items
