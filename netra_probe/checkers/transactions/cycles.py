"""Cycles of transactions: which must come before which, and the shortest ways in which that contradicts itself.

Nodes are transactions, and an edge says that one must come before the other (A. Adya, "Weak Consistency", MIT 1999):
``ww`` (the other overwrote it), ``wr`` (the other read what it wrote), ``rw`` (the other replaced what it had read). A
cycle is named by its strictest edges: ``ww`` alone is G0, with ``wr`` G1c, with one ``rw`` G-single, with more G2.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.checkers.transactions.version_order import Key, Transaction, Version, shown

if TYPE_CHECKING:
    import networkx as nx  # imported where it is needed: it takes half a second, and few commands look for cycles

#: From the strictest dependency to the loosest.
KINDS = ("ww", "wr", "rw")
#: Edges of one class that are tried in one component: a component holds one defect, seen from many sides.
TRIED = 200


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One transaction must come before another: over which key, because of which versions."""

    source: int
    target: int
    kind: str
    key: str
    old: Version
    new: Version

    def __str__(self) -> str:
        if self.kind == "ww":
            return f"#{self.source} before #{self.target}, which replaced its {self.key}={shown(self.old)}"
        if self.kind == "wr":
            return f"#{self.source} before #{self.target}, which read its {self.key}={shown(self.old)}"
        return f"#{self.source}, which read {self.key}={shown(self.old)}, before #{self.target}, which replaced it"


def dependencies(keys: Mapping[str, Key]) -> Iterator[Edge]:
    """Every dependency that the order of versions implies."""
    for name, key in keys.items():
        for version, successors in key.after.items():
            if version in key.ambiguous:
                continue
            for successor in successors:
                writer = key.writer(successor)
                if writer is None:
                    continue
                overwritten = key.writer(version)
                if overwritten is not None:
                    yield _edge(overwritten, writer, "ww", name, version, successor)
                for reader in key.readers.get(version, ()):
                    yield _edge(reader, writer, "rw", name, version, successor)
        for version, readers in key.readers.items():
            source = key.writer(version)
            # An intermediate version is a finding of its own and says nothing of the order of whole transactions.
            if source is not None and key.writers[version][1]:
                for reader in readers:
                    yield _edge(source, reader, "wr", name, version, version)


def _edge(source: Transaction, target: Transaction, kind: str, key: str, old: Version, new: Version) -> Edge:
    return Edge(source=source.index, target=target.index, kind=kind, key=key, old=old, new=new)


def find_cycles(edges: Iterator[Edge]) -> Iterator[tuple[str, Sequence[Edge]]]:
    """The shortest cycle through each closing edge, with its class: ``G0``, ``G1c``, ``G-single`` or ``G2``.

    Linear where there is none; within a strongly connected component a breadth-first search for at most ``TRIED`` edges
    of each class.
    """
    import networkx as nx

    whole: nx.DiGraph[int] = nx.DiGraph()
    for edge in edges:
        if edge.source == edge.target:
            continue
        if not whole.has_edge(edge.source, edge.target):
            whole.add_edge(edge.source, edge.target, by_kind={})
        whole.edges[edge.source, edge.target]["by_kind"].setdefault(edge.kind, edge)
    for component in nx.strongly_connected_components(whole):
        if len(component) > 1:
            yield from _cycles_within(whole.subgraph(component))


def _cycles_within(part: nx.DiGraph[int]) -> Iterator[tuple[str, Sequence[Edge]]]:
    layers = [_layer(part, KINDS[: depth + 1]) for depth in range(len(KINDS))]
    seen: set[frozenset[int]] = set()
    # For each class: the edge that closes the cycle, and the edges that the way back may use.
    for name, closing, depth in (("G0", "ww", 0), ("G1c", "wr", 1), ("G-single", "rw", 1), ("G2", "rw", 2)):
        closers = [data["by_kind"][closing] for _, _, data in part.edges(data=True) if closing in data["by_kind"]]
        for edge in closers[:TRIED]:
            cycle = _close(layers[depth], edge, depth)
            if cycle is None:
                continue
            members = frozenset(step.source for step in cycle)
            if members not in seen:
                seen.add(members)
                yield name, cycle


def _layer(part: nx.DiGraph[int], kinds: Sequence[str]) -> nx.DiGraph[int]:
    import networkx as nx

    layer: nx.DiGraph[int] = nx.DiGraph()
    layer.add_nodes_from(part)
    layer.add_edges_from(
        (source, target, data)
        for source, target, data in part.edges(data=True)
        if any(kind in data["by_kind"] for kind in kinds)
    )
    return layer


def _close(layer: nx.DiGraph[int], edge: Edge, depth: int) -> list[Edge] | None:
    import networkx as nx

    try:
        path: list[int] = nx.shortest_path(layer, edge.target, edge.source)
    except nx.NetworkXNoPath:
        return None
    cycle = [edge]
    for source, target in itertools.pairwise(path):
        by_kind: Mapping[str, Any] = layer.edges[source, target]["by_kind"]
        cycle.append(next(by_kind[kind] for kind in KINDS[: depth + 1] if kind in by_kind))
    return cycle
