"""docs/report.schema.json: the JSON Schema of report.json, made from the types of the report.

For: `python -m tools.report_schema`, which writes the file; a test holds it against the types.
Not for: anything at run time; pydantic is needed for nothing else in this project.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, with_config
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import is_typeddict

from iha_eval.compare import schema

FILE = Path(__file__).parents[1] / "docs" / "report.schema.json"


class _WithoutTitles(GenerateJsonSchema):
    """Titles that say a field's name once more."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def json_schema() -> dict[str, Any]:
    """The schema, in which no part may have an entry that the types do not name."""
    for part in vars(schema).values():
        if is_typeddict(part):
            with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True))(part)
    families: TypeAdapter[Any] = TypeAdapter(schema.FamilyReport)
    reports: TypeAdapter[Any] = TypeAdapter(schema.Report)
    watches: TypeAdapter[Any] = TypeAdapter(schema.WatchReport)
    kinds = {"family": families, "watch": watches, "report": reports}
    places, parts = TypeAdapter.json_schemas(
        [(kind, "validation", adapter) for kind, adapter in kinds.items()],
        schema_generator=_WithoutTitles,
    )
    # A report of several comparisons or of two runs says so; that of one comparison says nothing.
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_of_kind("family"),
        "then": places["family", "validation"],
        "else": {
            **_of_kind("watch"),
            "then": places["watch", "validation"],
            "else": places["report", "validation"],
        },
        **parts,
    }


def _of_kind(kind: str) -> dict[str, Any]:
    return {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}}


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(json_schema(), indent=1) + "\n", encoding="utf-8")
    print(FILE)


if __name__ == "__main__":
    main()
