"""Field values of an answer as a tree stores them: keys become ids, texts and numbers in bounds. Pure."""

from collections.abc import Mapping
from typing import Any

from aifactory.granulation.specs import FieldSpec, FieldType


class FieldReader:
    """Reads answers' fields; ``ids`` are the tree's ids by the keys that models use."""

    def __init__(self, ids: Mapping[str, str]) -> None:
        self._ids = ids

    def read(self, specs: Mapping[str, FieldSpec], answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that an answer has for some fields; what says nothing is left out."""
        read = {name: self._value(field, answer[name]) for name, field in specs.items() if name in answer}
        return {name: value for name, value in read.items() if value not in (None, "", [], {})}

    def _value(self, field: FieldSpec, value: Any) -> Any:
        if value is None:
            return None
        match field.type:
            case FieldType.LIST:
                assert field.of is not None
                return self._list(field, [self._value(field.of, inner) for inner in value])
            case FieldType.OBJECT:
                return self.read(field.fields, value)
            case FieldType.TEXT:
                return trimmed(value, int(field.max or 4000))
            case FieldType.REFERENCE:
                return self._ids.get(value)
            case FieldType.NUMBER:
                return round(_within(value, field), 2)
            case FieldType.INTEGER:
                return _within(value, field)
            case FieldType.CONCEPT:
                return {"term": trimmed(value["term"], 120), "definition": trimmed(value["definition"], 600)}
            case _:
                return value

    def _list(self, field: FieldSpec, values: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for value in values:
            if value not in (None, "", {}) and value not in kept:
                kept.append(value)
        return kept[: int(field.max)] if field.max else kept


def trimmed(text: str, most: int) -> str:
    """A text without blanks at its ends, cut at a word where it is too long."""
    text = text.strip()
    return text if len(text) <= most else text[: most - 1].rsplit(None, 1)[0].rstrip(" ,;:") + "…"


def _within(value: float, field: FieldSpec) -> float:
    if field.min is not None:
        value = max(value, type(value)(field.min))
    return min(value, type(value)(field.max)) if field.max is not None else value
