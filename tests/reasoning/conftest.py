"""Data folders of our own making, and lm-eval run on them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from iha_eval import current_model

TASKS = Path(__file__).parents[2] / "tasks"


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def gsm8k_row(number: int, split: str = "test") -> dict[str, Any]:
    half = 500 + number
    return {
        "question": f"Shelf {number} ({split}) has two rows of {half} jars. How many jars?",
        "answer": f"It has {half}+{half} = <<{half}+{half}={2 * half}>>{2 * half} jars."
        f"\n#### {2 * half:,}",
    }


def math_row(number: int) -> dict[str, Any]:
    return {
        "problem": f"What is ${number} + 1000$?",
        "solution": f"It is $\\boxed{{{number + 1000}}}$.",
        "answer": str(number + 1000),
        "subject": "Prealgebra",
        "level": 1 + number % 5,
        "unique_id": f"test/{number}",
    }


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both benchmarks, 60 questions each, and 40 training rows."""
    folder = tmp_path_factory.mktemp("data")
    write_rows(folder / "gsm8k/test.jsonl", [gsm8k_row(n) for n in range(60)])
    write_rows(folder / "gsm8k/train.jsonl", [gsm8k_row(n, "train") for n in range(40)])
    write_rows(folder / "math500/test.jsonl", [math_row(n) for n in range(60)])
    return folder


@pytest.fixture(autouse=True)
def no_model_published() -> None:
    current_model.clear()


@pytest.fixture(autouse=True)
def no_look_at_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lm-eval finds out about compilers and pip takes a second a run."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)


@pytest.fixture
def manager(data: Path) -> Callable[..., TaskManager]:
    def build(**metadata: Any) -> TaskManager:
        return TaskManager(
            include_path=str(TASKS),
            include_defaults=False,
            metadata={"data": str(data), **metadata},
        )

    return build


@pytest.fixture
def run(manager: Callable[..., TaskManager]) -> Callable[..., Any]:
    def evaluate(
        model: LM, *tasks: str, metadata: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        return lm_eval.simple_evaluate(
            model=model,
            tasks=list(tasks),
            task_manager=manager(**(metadata or {})),
            bootstrap_iters=100,
            **{"limit": 3, **options},
        )

    return evaluate
