"""The JSON of DynamoDB's requests and answers, without a walk by their shapes where there is nothing to convert.

Takes the place of botocore's serializer and parser for one client. Whatever needs more than JSON goes to them as it is:
a binary value, a time, a null, an error, what is no JSON; and what is wrong with a request they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import orjson
from botocore.model import OperationModel, Shape
from botocore.parsers import JSONParser, ResponseParserFactory

_Check = Callable[[Any], bool]


class Answers(ResponseParserFactory):  # type: ignore[misc]
    """Gives one parser for all answers; a parser has no state."""

    def __init__(self) -> None:
        super().__init__()
        self._parser = _Parser()

    def create_parser(self, protocol_name: str) -> Any:
        return self._parser if protocol_name == "json" else super().create_parser(protocol_name)


class _Parser(JSONParser):  # type: ignore[misc]
    """Takes a success as it is; an error is botocore's matter."""

    def _do_parse(self, response: dict[str, Any], shape: Shape | None) -> Any:
        answer = _as_it_is(response["body"], shape)
        if answer is None:
            return super()._do_parse(response, shape)
        self._inject_response_metadata(answer, response["headers"])
        return answer


def _as_it_is(body: bytes, shape: Shape | None) -> dict[str, Any] | None:
    """The answer, if botocore's parser would give this JSON's own values.

    What botocore does not know of, it drops; here that is done at the top alone.
    """
    if shape is None or any(mark in body for mark in _marks(shape)):
        return None
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return {name: answer[name] for name in shape.members if name in answer} if isinstance(answer, dict) else None


@lru_cache(maxsize=256)
def _marks(shape: Shape) -> tuple[bytes, ...]:
    """What an answer contains if botocore's parser converts something in it: null, and names of converted members."""
    return (b"null", *(f'"{name}"'.encode() for name in set(_converted(shape, "", set()))))


def _converted(shape: Shape, name: str, seen: set[str]) -> Iterator[str]:
    if shape.type_name in ("blob", "timestamp"):
        yield name
    elif shape.type_name == "list":
        yield from _converted(shape.member, name, seen)
    elif shape.type_name == "map":
        yield from _converted(shape.value, name, seen)
    elif shape.type_name == "structure" and shape.is_tagged_union:
        yield name
    elif shape.type_name == "structure" and shape.name not in seen:
        seen.add(shape.name)
        for member, each in shape.members.items():
            wire_name = each.serialization.get("name", member)
            if wire_name != member:
                yield wire_name
            yield from _converted(each, wire_name, seen)


class Requests:
    """A serializer. `plain` is botocore's, with its validation, and is asked whenever a request is not plain JSON."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain
        self._learned: dict[str, tuple[_Check, dict[str, Any]]] = {}

    def serialize_to_request(self, parameters: dict[str, Any], operation_model: OperationModel) -> dict[str, Any]:
        check, frame = self._learned.get(operation_model.name, (_never, {}))
        if check(parameters):
            try:
                return frame | {"headers": dict(frame["headers"]), "body": orjson.dumps(parameters)}
            except TypeError:  # a lone surrogate, a number of more than 64 bits
                pass
        request: dict[str, Any] = self._plain.serialize_to_request(parameters, operation_model)
        if not frame and operation_model.input_shape is not None and "host_prefix" not in request:
            frame = request | {"headers": dict(request["headers"])}
            self._learned[operation_model.name] = _check_of(operation_model.input_shape, {}), frame
        return request


def _never(_: Any) -> bool:
    return False


def _check_of(shape: Shape, made: dict[str, _Check]) -> _Check:
    """What tells whether botocore would accept a value of this shape, and send it as the JSON that it is already.

    It may say no where botocore says yes, but never the reverse. `made` holds those of structures, which may contain
    themselves.
    """
    least = shape.metadata.get("min", 0)
    if shape.type_name == "string":
        return lambda value: type(value) is str and len(value) >= least
    if shape.type_name == "boolean":
        return lambda value: type(value) is bool
    if shape.type_name in ("integer", "long"):
        return lambda value: type(value) is int and value >= least
    if shape.type_name == "list":
        item = _check_of(shape.member, made)
        return lambda value: type(value) is list and len(value) >= least and all(map(item, value))
    if shape.type_name == "map":
        key, content = _check_of(shape.key, made), _check_of(shape.value, made)
        return lambda value: type(value) is dict and all(map(key, value)) and all(map(content, value.values()))
    if shape.type_name == "structure" and not (shape.is_tagged_union or shape.is_document_type):
        return made.get(shape.name) or _check_of_structure(shape, made)
    return _never


def _check_of_structure(shape: Shape, made: dict[str, _Check]) -> _Check:
    members: dict[str, _Check] = {}
    required = frozenset(shape.metadata.get("required", ()))

    def check(value: Any) -> bool:
        if type(value) is not dict or not required <= value.keys():
            return False
        for name, each in value.items():  # noqa: SIM110 – twice as quick as all()
            if not members.get(name, _never)(each):
                return False
        return True

    made[shape.name] = check
    for name, member in shape.members.items():
        renamed = member.serialization.get("name", name) != name
        members[name] = _never if renamed else _check_of(member, made)
    return check
