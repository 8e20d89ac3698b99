"""The tables of the documents, made from the code. `python -m tests.tables` renews them."""

import re
from pathlib import Path
from typing import Any

from jobs.settings import Settings
from jobs.spec.job import JobSpec
from jobs.spec.values import TAGS, Part

ROOT = Path(__file__).resolve().parents[1]
BETWEEN = re.compile(r"(<!-- from the code -->\n\n).*(\n\n<!-- to here -->)", re.DOTALL)
GUARDS = {1e30, -1e30, 1_000_000_000}
"""Limits of numbers that only keep nonsense out."""


def settings() -> str:
    """Every setting, its default and its meaning."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "host and process id" if field.default_factory else f"`{str(field.default).lower()}`"
        rows.append(f"| `FITD_{name.upper()}` | {default.replace('``', 'empty')} | {cell(field.description or '')} |")
    return "\n".join(rows)


def spec() -> str:
    """Every field of a spec and of its parts, from the JSON schema."""
    schema = JobSpec.model_json_schema()
    definitions = schema["$defs"]
    sections, shown = ["## The job", fields(schema, JobSpec)], set[str]()
    for name, value in schema["properties"].items():
        parts = [part for part in below(value, definitions) if part not in shown]
        shown |= set(parts)
        sections += [f"## `{name}`"] if parts else []
        for part in parts:
            sections += [f"### {part}", *described(definitions[part], kinds()[part])]
    return "\n\n".join(sections)


def kinds() -> dict[str, type[Part]]:
    """The parts of a spec by their names in its schema."""
    return {kind.__name__: kind for kind in Part.__subclasses__() if kind.__module__.startswith("jobs.spec")}


def below(value: Any, definitions: dict[str, Any]) -> list[str]:
    """The parts that a schema leads to, in order."""
    found: dict[str, None] = {}
    waiting = [value]
    while waiting:
        names = re.findall(r"ref': '#/\$defs/(\w+)", str(waiting.pop(0)))
        new = [name for name in dict.fromkeys(names) if name not in found and "properties" in definitions[name]]
        found |= dict.fromkeys(new)
        waiting += [definitions[name]["properties"] for name in new]
    return list(found)


def described(schema: dict[str, Any], kind: type[Part]) -> list[str]:
    """What a part does, and its fields."""
    known = schema["properties"]
    tags = [f'`"{tag}": "{known[tag]["const"]}"`. ' for tag in TAGS if tag in known]
    text = "".join(tags) + " ".join(schema["description"].split())
    return [text, fields(schema, kind)] if len(known) > len(tags) else [text]


def fields(schema: dict[str, Any], kind: type[Part]) -> str:
    rows = ["| field | takes | default | meaning |", "|---|---|---|---|"]
    for name, value in schema["properties"].items():
        if name not in TAGS:
            default = "required" if name in schema.get("required", []) else f"`{written(kind, name)}`"
            rows.append(f"| `{name}` | {cell(takes(value))} | {default} | {cell(value['description'])} |")
    return "\n".join(rows)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def written(kind: type[Part], name: str) -> str:
    """A default as a caller would write it."""
    default = kind.model_fields[name].get_default(call_default_factory=True, validated_data={})
    if isinstance(default, Part):
        return f'{{"kind": "{default.kind}"}}' if hasattr(default, "kind") else "{}"
    return "null" if default is None else f"{default:g}" if isinstance(default, float) else str(default).lower()


def takes(schema: dict[str, Any]) -> str:
    """The values of a field, in words."""
    if choices := schema.get("anyOf"):
        return " or ".join(map(takes, choices))
    if choices := schema.get("oneOf"):
        return ", ".join(map(takes, choices))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum") or [schema["const"]])
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return "a value" if name == "JsonValue" else f"[{name}](#{name.lower()})"
    match schema["type"]:
        case "array":
            return f"list{span(schema, 'Items')} of {takes(schema['items'])}"
        case "object":
            return f"object{span(schema, 'Properties')} of {takes(schema['additionalProperties'])}"
        case "string" if "pattern" in schema:
            return f"text like `{schema['pattern']}`"
        case "string":
            return f"text{span(schema, 'Length')}"
        case other:
            return f"{other}{limits(schema)}"


def span(schema: dict[str, Any], of: str) -> str:
    """How long a text, list or object may be."""
    low, high = schema.get(f"min{of}", 0), schema.get(f"max{of}")
    return "" if not low and high is None else f" ({low}…{'' if high is None else high})"


LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def limits(schema: dict[str, Any]) -> str:
    """Of a number, without the guards."""
    given = [f"{sign} {schema[key]:,}" for key, sign in LIMITS.items() if schema.get(key, 1e30) not in GUARDS]
    return f" {', '.join(given)}" if given else ""


PAGES = {"docs/operations.md": settings, "docs/spec.md": spec}
"""Which page has which table."""


def renewed(page: str) -> str:
    """The page with its table as the code has it."""
    made = PAGES[page]()
    return BETWEEN.sub(lambda found: found[1] + made + found[2], (ROOT / page).read_text())


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(renewed(page))
