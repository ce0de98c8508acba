"""The capacity units of a recorded call by AWS's rules, which docs/performance.md lists. Emulators count otherwise."""

from __future__ import annotations

from typing import Any

from lib.ddb.items import Item, key_of
from tools.explain.recorder import Call

_KILOBYTE = 1024
_INDEXED = ("pk", "sk", "message_group_uuid")  # the attributes of an index entry


def units(call: Call) -> float:
    """Read or write units. A refused call costs as much as an applied one, without the index."""
    return _write_units(call) if call.writes else _read_units(call)


def item_size(value: dict[str, Any]) -> int:
    """The bytes of an item, or of the elements of a map, by the rules of AWS's page on item sizes."""
    return sum(len(name.encode()) + _value_size(attribute) for name, attribute in value.items())


def round_up(size: int, kilobytes: int) -> int:
    """The units of so many bytes, if a unit is so many kilobytes."""
    return -(-size // (kilobytes * _KILOBYTE))


def _read_units(call: Call) -> float:
    """A Query adds up its items before it rounds."""
    whole = max(1, round_up(sum(map(item_size, call.items)), 4))
    return whole if call.arguments.get("ConsistentRead") else whole / 2


def _write_units(call: Call) -> int:
    transaction = 2 if call.operation == "TransactWriteItems" else 1  # DynamoDB prepares each item, then commits it
    total = 0
    for action, arguments in call.writes:
        key = key_of(arguments.get("Key") or arguments["Item"])
        before, after = call.before.get(key), call.after.get(key)
        if call.refusal:  # nothing has changed
            after = arguments["Item"] if action == "Put" else before
        total += transaction * max(1, _larger(before, after))
        if not call.refusal:
            total += _index_units(before, after)
    return total


def _index_units(before: Item | None, after: Item | None) -> int:
    """The units of an index entry."""
    entries = [_index_entry(before), _index_entry(after)]
    return 0 if entries[0] == entries[1] else _larger(*entries)


def _index_entry(item: Item | None) -> Item | None:
    """What the index holds of an item: the keys of an inbox row."""
    return {name: item[name] for name in _INDEXED} if item and set(_INDEXED) <= item.keys() else None


def _larger(*versions: Item | None) -> int:
    """The write units of the larger version of an item; 0 without one."""
    return max(round_up(item_size(item), 1) if item else 0 for item in versions)


def _value_size(value: dict[str, Any]) -> int:
    """The bytes of an attribute's value in DynamoDB's wire form."""
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return (len(content) + 1) // 2 + 1
        case "B":
            return len(content)
        case "BOOL" | "NULL":
            return 1
        case "M":
            return 3 + len(content) + item_size(content)
        case "L":
            return 3 + len(content) + sum(map(_value_size, content))
        case _:  # SS, NS or BS
            return sum(_value_size({kind[0]: element}) for element in content)
