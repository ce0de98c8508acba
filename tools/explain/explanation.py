"""How bin/ddb/explain prints what ran: calls, statements, changes of items, and cost.

All of it comes from the calls that the client made; nothing here knows a pattern.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from lib.aws.metering import Usage
from lib.ddb import keys
from lib.ddb.items import Item, key_of
from tools.cli.console import one_line, write, write_folded
from tools.explain import partiql
from tools.explain.formatting import filled, options
from tools.explain.item_diff import Change, changes
from tools.explain.recorder import Call

_SHOWN = 8  # writes of a call, and items that changed; more of them are alike


def show_heading(text: str) -> None:
    write("")
    write_folded("", lead=text, style="bold")


def show_lines(lines: Iterable[str]) -> None:
    for line in lines:
        write_folded(line, lead="  ")


def show_calls(calls: Sequence[Call], *, first: int = 1) -> None:
    """Each call with its conditions, expressions and values, and what it consumed."""
    for number, call in enumerate(calls, start=first):
        outcome = f"refused, {call.refusal}" if call.refusal else cost([call])
        write_folded(f"{_title(call)}: {outcome}", lead=f"  {number} ", style="bold")
        if call.writes:
            for action, arguments in call.writes[:_SHOWN]:
                _show_write(action, arguments)
            _show_rest(len(call.writes))
        else:
            _show_read(call.arguments)


def show_statements(calls: Sequence[Call]) -> None:
    """The PartiQL of all writes of the calls, one statement for each; those that are alike are counted."""
    statements = [partiql.write(action, arguments) for call in calls for action, arguments in call.writes]
    for text, count in Counter(each.text if each else None for each in statements).items():
        times = f"{count} × " if count > 1 else ""
        write_folded(f"{times}{text or '-- PartiQL has no Put where an item may be'}", lead="  ")


def show_changes(calls: Sequence[Call]) -> None:
    """Each item that differs, before the calls and after them."""
    found = changes(calls)
    for change in found[:_SHOWN]:
        _show_change(change)
    _show_rest(len(found))


def show_cost(calls: Sequence[Call], usage: Usage) -> None:
    """What the calls consumed, reads and writes apart, and the meter's sum of both."""
    for of_kind in ([call for call in calls if not call.writes], [call for call in calls if call.writes]):
        if of_kind:
            write_folded(cost(of_kind), lead="  ")
    write_folded(f"requests: {usage.requests}, capacity units: {usage.capacity_units:g}", lead="  ")


def cost(calls: Sequence[Call]) -> str:
    """What calls of one kind, that read or that write, consumed at the table and at its index."""
    reported = [call.units for call in calls if call.units]
    if not reported:
        return "consumption not reported"
    table, index = sum(units.table for units in reported), sum(units.index for units in reported)
    noun = f"{'write' if calls[0].writes else 'read'} unit{'' if table + index == 1 else 's'}"
    if not index:
        return f"{table:g} {noun}"
    return f"{table + index:g} {noun}, {table:g} at the table and {index:g} at the index"


def _title(call: Call) -> str:
    if call.operation == "TransactWriteItems":
        return f"TransactWriteItems, {len(call.writes)} writes, all or none"
    return call.operation


def _show_read(arguments: dict[str, Any]) -> None:
    if "Key" in arguments:
        write_folded(_name(arguments["Key"]), lead="      key ")
    if "KeyConditionExpression" in arguments:
        write_folded(filled(arguments["KeyConditionExpression"], arguments), lead="      key condition ")
    write_folded(", ".join(options(arguments)), lead="      ")


def _show_write(action: str, arguments: dict[str, Any]) -> None:
    write_folded(_name(arguments.get("Key") or arguments["Item"]), lead=f"      {action:<7}", style="cyan")
    if "ConditionExpression" in arguments:
        write_folded(filled(arguments["ConditionExpression"], arguments), lead="         if ")
    if "UpdateExpression" in arguments:
        write_folded(filled(arguments["UpdateExpression"], arguments), lead="         ")


def _show_change(change: Change) -> None:
    mark, style = ("+", "green") if change.before is None else ("-", "red") if change.after is None else ("~", "yellow")
    write_folded(_name(change.after or change.before or {}), lead=f"  {mark} ", style=style)
    moved_or_changed = change.before and change.after
    attributes = [each for each in change.attributes if moved_or_changed or each[0] not in ("pk", "sk")]
    width = max(len(one_line(name)) for name, _, _ in attributes)
    for name, old, new in attributes:
        values = f"{old or 'none'} → {new or 'none'}" if moved_or_changed else f"{new or old}"
        write_folded(values, lead=f"      {one_line(name):<{width}}  ")
    if change.unchanged:
        write_folded(f"as before: {', '.join(change.unchanged)}", lead="      ")


def _show_rest(count: int) -> None:
    if count > _SHOWN:
        write(f"      … and {count - _SHOWN} more")


def _name(item: Item) -> str:
    """An item by its kind and its key."""
    pk, sk = key_of(item)
    return f"{keys.kind(pk) or 'item'}  {pk}  {sk}"
