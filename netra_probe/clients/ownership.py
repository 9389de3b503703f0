"""Who owns the rows of a table: as netra-wire §8 has it, or as a target's parameters say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from netra_probe.errors import ParameterError, did_you_mean

#: (schema, table) → its columns.
Columns: TypeAlias = Mapping[tuple[str, str], set[str]]


class Ownership(Protocol):
    """How a parameter file describes one table (``netra_probe.target.deployment.Ownership``)."""

    @property
    def owner(self) -> str: ...
    @property
    def through(self) -> str | None: ...
    @property
    def key(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that says who owns its rows.

    ``owner`` is an SQL expression over the alias ``t`` that yields the owner's user id as text, ``key`` one for its
    key.
    """

    name: str
    owner: str
    key: str


def owned_tables(columns: Columns, *, schema: str | None, ownership: Mapping[str, Ownership]) -> tuple[Table, ...]:
    """The tables whose rows have an owner: those that are described, and of the others those that say so themselves.

    Raises ParameterError where the parameters name a schema, table or column that is not there.
    """
    if schema is not None:
        schemas = {name for name, _ in columns}
        if schema not in schemas:
            raise ParameterError(
                f'target.database_schema: the database has no schema "{schema}"; {did_you_mean(schema, schemas)}'
            )
        columns = {place: has for place, has in columns.items() if place[0] == schema}
    described = {_place(columns, name): name for name in ownership}
    tables = [
        Table(
            name=_quoted(*place),
            owner=_owner(columns, ownership, name),
            key=f"t.{_name(_column(columns, place, ownership[name].key, f'ownership.{name}.key'))}::text",
        )
        for place, name in described.items()
    ]
    return (*tables, *(table for place, table in _usual(columns) if place not in described))


# As the parameters say


def _place(columns: Columns, name: str) -> tuple[str, str]:
    """Where a table is that is called ``table`` or ``schema.table``."""
    found = [place for place in columns if name in (place[1], ".".join(place))]
    # One of this name in the usual schema is meant before others.
    for place in sorted(found, key=lambda place: place[0] != "public"):
        return place
    known = {table for _, table in columns}
    raise ParameterError(f'target.ownership: the database has no table "{name}"; {did_you_mean(name, known)}')


def _column(columns: Columns, place: tuple[str, str], name: str, key: str) -> str:
    if name not in columns[place]:
        raise ParameterError(
            f'target.{key}: table "{place[1]}" has no column "{name}"; {did_you_mean(name, columns[place])}'
        )
    return name


def _owner(columns: Columns, ownership: Mapping[str, Ownership], name: str, alias: str = "t", depth: int = 0) -> str:
    """The owner of a row of a described table, following what it belongs to."""
    described = ownership[name]
    place = _place(columns, name)
    column, _, inside = described.owner.partition(".")
    _column(columns, place, column, f"ownership.{name}.owner")
    value = f"{alias}.{_name(column)}"
    value = f"{value}::jsonb #>> {_path(inside)}" if inside else f"{value}::text"
    if described.through is None:
        return value
    if depth >= len(ownership):
        raise ParameterError(f"target.ownership.{name}.through: the tables lead back to each other; mend one of them.")
    next_place = _place(columns, described.through)
    parent = ownership[described.through]
    key = _column(columns, next_place, parent.key, f"ownership.{described.through}.key")
    outer = f"o{depth}"
    owner = _owner(columns, ownership, described.through, outer, depth + 1)
    return f"(SELECT {owner} FROM {_quoted(*next_place)} {outer} WHERE {outer}.{_name(key)}::text = {value})"


def _path(inside: str) -> str:
    """A path into JSON as PostgreSQL writes it: ``'{a,b}'``."""
    parts = ",".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in inside.split("."))
    return "'{" + parts.replace("'", "''") + "}'"


# As the platform has it


def _usual(columns: Columns) -> list[tuple[tuple[str, str], Table]]:
    threads = next((place for place, has in columns.items() if place[1] == "threads" and "metadata_" in has), None)
    through_thread = (
        f"(SELECT o.metadata_->>'user_id' FROM {_quoted(*threads)} o WHERE o.id = t.thread_id)" if threads else ""
    )
    tables = []
    for place, has in columns.items():
        if "user_id" in has:
            owner = "t.user_id::text"
        elif place[1] in ("users", "auth_users") and "id" in has:
            owner = "t.id::text"
        elif place[1] == "threads" and "metadata_" in has:
            owner = "t.metadata_->>'user_id'"
        elif "thread_id" in has and through_thread:
            owner = through_thread
        else:
            continue
        key = next((f"t.{column}::text" for column in ("id", "run_id", "user_id") if column in has), "NULL::text")
        tables.append((place, Table(name=_quoted(*place), owner=owner, key=key)))
    return tables


def _name(name: str) -> str:
    """An identifier that means itself in SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _quoted(schema: str, table: str) -> str:
    return f"{_name(schema)}.{_name(table)}"
