"""Reading a JSON Schema: references, nullable types, enums, which objects are items. Pure."""

from typing import Any

from devprovider.schema_rules import resolve

ITEM_KINDS = ("single", "multi", "true_false", "short", "numeric", "match", "order", "cloze", "essay")


def plain(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The schema behind references and beside null; a real union stays as it is."""
    found = resolve(schema, root) or {}
    variants = [one for one in found.get("anyOf", ()) if one.get("type") != "null"]
    return plain(variants[0], root) if len(variants) == 1 else found


def main_type(schema: dict[str, Any]) -> str:
    """The type, null left aside; told from other keywords where it is not said."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind:
        return str(kind)
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def enum_of(schema: dict[str, Any]) -> list[Any]:
    """The values that are allowed, null left aside; a constant is the only one."""
    if "const" in schema:
        return [schema["const"]]
    return [value for value in schema.get("enum", ()) if value is not None]


def key_enum(schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """The keys that a list of such objects has to have, one object each."""
    key = schema.get("properties", {}).get("key")
    return [str(value) for value in enum_of(plain(key, root))] if isinstance(key, dict) else []


def item_kinds(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The kinds of item that may stand here, each with its schema; empty when items may not."""
    found: dict[str, dict[str, Any]] = {}
    for variant in schema.get("anyOf", (schema,)):
        variant = plain(variant, root)
        properties = variant.get("properties", {})
        if "stem" in properties:
            kinds = enum_of(plain(properties.get("kind", {}), root)) or ["single"]
            found |= {kind: variant for kind in kinds if kind in ITEM_KINDS}
    return found
