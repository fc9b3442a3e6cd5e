"""Class names of the source are unique: a name says what a thing is without its module."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("benchmarks", "iha_eval", "model_adapters", "recipes", "tasks", "tools")

# The same models for Transformers and for vLLM, which both go by the name in config.json.
MEANT = {"IHALlamaForCausalLM", "IHANanoChatForCausalLM"}


def test_a_class_name_exists_once() -> None:
    places = defaultdict(list)
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(str(file.relative_to(ROOT)))
    assert len(places) > 150
    assert {name: files for name, files in places.items() if len(files) > 1}.keys() == MEANT
