"""Prints the explanation of a pattern: SQL, PartiQL, calls, changes of items, capacity units, and takeaway.

The text and the SQL come from tools/explain/sql_equivalents.py, all else from recorded calls. This module knows no
pattern.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from lib.ddb import keys
from lib.ddb.items import Item, key_of
from tools.cli.console import one_line, print_data, print_folded, print_table
from tools.explain import partiql, pricing
from tools.explain.item_diff import ItemChange
from tools.explain.recorder import Call, changes, filled, read_options
from tools.explain.sql_equivalents import Explanation


def print_explanation(
    explanation: Explanation,
    values: Mapping[str, str | int],
    calls: Sequence[Call],
    *,
    function_calls: Sequence[Call] = (),
    columns: Sequence[str] = (),
    rows: Iterable[Sequence[object]] = (),
) -> None:
    """Print an explanation; `values` fill the placeholders of its SQL.

    `calls` are those of the request, `function_calls` those of the function on the table's stream. A list also has
    `columns` and `rows`.
    """
    all_calls = [*calls, *function_calls]
    _print_section(explanation.title, [explanation.question])
    _print_section(
        "SQL, if Postgres had message_groups, members and messages beside users", explanation.sql_with(values)
    )
    _print_section("PartiQL, a statement for each Query and each write", _statements(all_calls))
    number = count(start=1)
    for heading, part in (("What ran", calls), ("What the function on the table's stream ran", function_calls)):
        if part:
            _print_section(heading)
        for call in part:
            _print_call(next(number), call)
    item_changes = changes(all_calls)
    if item_changes:
        _print_section("Items before and after")
    for change in item_changes:
        _print_change(change)
    if columns:
        _print_section("Rows")
        print_table(columns, rows)
    priced, reported = sum(map(pricing.units, all_calls)), sum(call.units or 0 for call in all_calls)
    _print_section(
        "Cost",
        [
            f"calls: {len(all_calls)}, capacity units by AWS's rules: {priced:g}",
            f"The engine reports {reported:g}; emulators do not count by AWS's rules.",
        ],
    )
    _print_section("Takeaway", [explanation.takeaway])


def _print_section(heading: str, lines: Iterable[str] = ()) -> None:
    print_data("")
    print_folded("", lead=heading, style="bold")
    for line in lines:
        print_folded(line, lead="  ")


def _statements(calls: Sequence[Call]) -> list[str]:
    """The PartiQL of all calls that DynamoDB did not refuse; equal statements are counted."""
    texts: Counter[str] = Counter()
    for call in calls:
        if call.refusal:
            continue
        if call.operation == "Query":
            texts[partiql.select(call.arguments)] += 1
        for action, arguments in call.writes:
            statement = partiql.write(action, arguments)
            texts[statement.text if statement else partiql.MISSING[action]] += 1
    return [f"{times} × {text}" if times > 1 else text for text, times in texts.items()]


def _print_call(number: int, call: Call) -> None:
    """A call with its conditions, expressions and values, and its units by AWS's rules and by the engine."""
    title = f"{call.operation}, {len(call.writes)} writes, all or none" if len(call.writes) > 1 else call.operation
    kind = "WCU" if call.writes else "RCU"
    reported = "not reported" if call.units is None else f"{call.units:g} reported"
    outcome = f"refused, {call.refusal}" if call.refusal else reported
    print_folded(f"{title}: {pricing.units(call):g} {kind}, {outcome}", lead=f"  {number} ", style="bold")
    for action, arguments in call.writes:
        print_folded(_name(arguments.get("Key") or arguments["Item"]), lead=f"      {action:<7}", style="cyan")
        _print_expressions(arguments, ConditionExpression="         if ", UpdateExpression="         ")
    if not call.writes:
        if "Key" in call.arguments:
            print_folded(_name(call.arguments["Key"]), lead="      key ")
        _print_expressions(call.arguments, KeyConditionExpression="      key condition ")
        print_folded(read_options(call.arguments), lead="      ")


def _print_expressions(arguments: Mapping[str, Any], **leads: str) -> None:
    for name, lead in leads.items():
        if name in arguments:
            print_folded(filled(arguments[name], arguments), lead=lead)


def _print_change(change: ItemChange) -> None:
    both = change.before and change.after
    mark, style = ("~", "yellow") if both else ("+", "green") if change.after else ("-", "red")
    print_folded(_name(change.after or change.before or {}), lead=f"  {mark} ", style=style)
    attributes = [attribute for attribute in change.attributes if both or attribute[0] not in ("pk", "sk")]
    width = max(len(one_line(name)) for name, _, _ in attributes)
    for name, old, new in attributes:
        values = f"{old or 'none'} → {new or 'none'}" if both else f"{new or old}"
        print_folded(values, lead=f"      {one_line(name):<{width}}  ")


def _name(item: Item) -> str:
    """An item by its kind and its key."""
    pk, sk = key_of(item)
    return f"{keys.kind(pk, sk) or 'item'}  {pk}  {sk}"
