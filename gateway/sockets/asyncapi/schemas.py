"""JSON Schemas of what the code has a model of, made of that: they can say nothing else."""

from collections.abc import Collection, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Self, TypeAlias, get_args, get_origin, get_type_hints

from gateway.protocols.centrifuge.reading import Fields

Schema: TypeAlias = dict[str, Any]
Messages: TypeAlias = Mapping[str, Schema]

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TAGS: Schema = {"type": "object", "additionalProperties": TEXT}


def object_of(properties: Mapping[str, Schema], required: Collection[str] | None = None) -> Schema:
    """An object of these fields and no others; all of them are required if nothing else is said."""
    names = properties if required is None else required
    return {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
        **({"required": sorted(names)} if names else {}),
    }


class Models:
    """Describes named tuples as they are written down: bytes are any JSON value.

    ``always`` names the fields that are there even if they are empty; ``changes`` are the
    properties of which the model says less, or something else, than what is written, and None
    for one that is not written at all.
    """

    def __init__(
        self,
        always: Mapping[type, Collection[str]],
        changes: Mapping[type, Mapping[str, Schema | None]],
    ) -> None:
        self._always = always
        self._changes = changes
        self.schemas: dict[str, Schema] = {}

    def of(self, model: type) -> Schema:
        name = model.__name__
        if name not in self.schemas:
            hints = get_type_hints(model)
            properties: dict[str, Schema | None] = {
                field: self._value(hint) for field, hint in hints.items()
            }
            properties |= self._changes.get(model, {})
            written = {field: schema for field, schema in properties.items() if schema is not None}
            self.schemas[name] = object_of(written, self._required(model, hints))
        return {"$ref": f"#/components/schemas/{name}"}

    def _required(self, model: Any, hints: Mapping[str, Any]) -> set[str]:
        """Of the others, what may be empty is left out where it is."""
        given = {field for field in hints if field not in model._field_defaults}
        return set(self._always.get(model, ())) | {
            field for field in given if hints[field] not in (bool, int)
        }

    def _value(self, hint: Any) -> Schema:
        plain = {bytes: ANYTHING, str: TEXT, bool: {"type": "boolean"}, int: COUNT}
        if hint in plain:
            return plain[hint]
        if get_origin(hint) is UnionType:
            (hint,) = (one for one in get_args(hint) if one is not NoneType)
            return self._value(hint)
        if get_origin(hint) is Sequence:
            return {"type": "array", "items": self._value(get_args(hint)[0])}
        if get_origin(hint) is Mapping:
            return {"type": "object", "additionalProperties": self._value(get_args(hint)[1])}
        return self.of(hint)


class Asked(Fields):
    """Notes down which fields a reader asks for, and of which type; answers as if all were empty.

    Flags are set, so that what depends on them is asked for, too.
    """

    def __init__(self) -> None:
        self._properties: dict[str, Schema] = {}
        self.schema: Schema = {"type": "object", "properties": self._properties}

    def text(self, name: str) -> str:
        self._properties[name] = TEXT
        return ""

    def flag(self, name: str) -> bool:
        self._properties[name] = {"type": "boolean"}
        return True

    def number(self, name: str, most: int, least: int = 0) -> int:
        self._properties[name] = {"type": "integer", "minimum": least, "maximum": most}
        return 0

    def data(self, name: str) -> bytes:
        self._properties[name] = ANYTHING
        return b""

    def object(self, name: str) -> Self:
        inner = type(self)()
        self._properties[name] = inner.schema
        return inner

    def objects(self, name: str) -> Mapping[str, Self]:
        inner = type(self)()
        self._properties[name] = {"type": "object", "additionalProperties": inner.schema}
        return {"": inner}
