"""Which events AWS selects: patterns of Lambda's event filters, and CloudTrail's advanced event selectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "Equals": str.__eq__,
    "StartsWith": str.startswith,
    "EndsWith": str.endswith,
}


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event of Lambda matches a filter's pattern.

    `exists` looks at leaves alone, so it never finds an attribute of DynamoDB, which is a map such as `{"N": "42"}`.
    A leaf is absent, too, if its parents are. https://github.com/aws/event-ruler#exists-matching
    https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html#filtering-ddb-exists
    """
    leaves = dict(_leaves(event))
    return all(any(_allows(rule, path, leaves) for rule in rules) for path, rules in _leaves(pattern))


def _leaves(node: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _leaves(value, (*path, name))
    else:
        yield path, node


def _allows(rule: object, path: tuple[str, ...], leaves: Mapping[tuple[str, ...], Any]) -> bool:
    match rule:
        case {"exists": bool(exists)}:
            return (path in leaves) is exists
        case {"prefix": str(prefix)}:
            return str(leaves.get(path, "")).startswith(prefix)
        case str():
            return bool(leaves.get(path) == rule)
        case _:
            raise NotImplementedError(rule)


def selects(selectors: Sequence[Mapping[str, Any]], event: Mapping[str, str]) -> bool:
    """Whether a trail with these AdvancedEventSelectors records an event, given as the values of its fields.

    One selector has to match, and all of its fields. Of an operator's values one has to match; of those of a `Not…`
    operator, none may. https://docs.aws.amazon.com/awscloudtrail/latest/userguide/filtering-data-events.html
    """
    return any(all(_fits(field, event[field["Field"]]) for field in part["FieldSelectors"]) for part in selectors)


def _fits(field: Mapping[str, Any], value: str) -> bool:
    def found(operator: str, operands: Sequence[str]) -> bool:
        return any(_OPERATORS[operator](value, operand) for operand in operands)

    conditions = {name: operands for name, operands in field.items() if name != "Field"}
    return all(
        not found(name.removeprefix("Not"), operands) if name.startswith("Not") else found(name, operands)
        for name, operands in conditions.items()
    )
