"""Prompts as the model receives them, character by character."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from scripted_model import Script, ScriptedModel

from iha_eval.reasoning.fewshot import GSM8K_EXAMPLES, MATH_EXAMPLES
from iha_eval.reasoning.prompts import CHAT, CHAT_ONE_TURN, CHAT_STOPS, PLAIN, choose

QUESTION = "Shelf 0 (test) has two rows of 500 jars. How many jars?"
PLAIN_INSTRUCTION = (
    "Each problem is followed by a solution that goes step by step and states its result at the "
    "end, in the form: The answer is \\boxed{result}.\n\n"
)
CHAT_INSTRUCTION = (
    "\n\nWork this out step by step. Close with a sentence that gives the result inside \\boxed{}."
)
ROLLS = (
    "A bakery packs rolls into bags of 6. On Monday it bakes 150 rolls and keeps 12 of them for "
    "its staff. How many bags does it fill with the rest?"
)
ROLLS_SOLVED = (
    "The bakery packs 150 - 12 = 138 rolls.\nThat fills 138 / 6 = 23 bags.\n"
    "The answer is \\boxed{23}."
)


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(lambda document: Script(1.0))


def first_prompt(model: ScriptedModel) -> Any:
    prompt = model.prompts[0]
    return json.loads(prompt) if prompt.startswith("[") else prompt


def test_plain_zero_shot(model: ScriptedModel, run: Callable[..., Any]) -> None:
    run(model, "gsm8k_maj")
    assert first_prompt(model) == f"{PLAIN_INSTRUCTION}Problem: {QUESTION}\nSolution:"
    assert model.arguments[0]["until"] == [
        "\nProblem:",
        "\nProblem ",
        "\nQuestion:",
        "\nQ:",
        "\nExercise",
    ]


def test_plain_few_shot(model: ScriptedModel, run: Callable[..., Any]) -> None:
    run(model, "gsm8k_maj", num_fewshot=1)
    assert first_prompt(model) == (
        f"{PLAIN_INSTRUCTION}Problem: {ROLLS}\nSolution: {ROLLS_SOLVED}\n\n"
        f"Problem: {QUESTION}\nSolution:"
    )


def test_the_stop_string_is_how_the_next_example_begins() -> None:
    assert PLAIN.example.startswith(PLAIN.until[0].lstrip("\n"))
    assert PLAIN.question == PLAIN.example


def test_chat_zero_shot(model: ScriptedModel, run: Callable[..., Any]) -> None:
    run(model, "gsm8k_maj", apply_chat_template=True)
    assert first_prompt(model) == [
        {"role": "user", "content": f"{QUESTION}{CHAT_INSTRUCTION}"},
        {"role": "assistant"},
    ]
    assert model.arguments[0]["until"] == [*CHAT_STOPS]


def test_chat_few_shot_as_turns(model: ScriptedModel, run: Callable[..., Any]) -> None:
    options = {"apply_chat_template": True, "fewshot_as_multiturn": True}
    run(model, "gsm8k_maj", num_fewshot=2, system_instruction="Be kind.", **options)
    messages = first_prompt(model)
    roles = [message["role"] for message in messages]
    assert roles == ["system", *["user", "assistant"] * 3]
    assert messages[0]["content"] == "Be kind."
    assert messages[1]["content"] == f"{ROLLS}{CHAT_INSTRUCTION}"
    assert messages[2]["content"] == ROLLS_SOLVED
    assert messages[5]["content"] == f"{QUESTION}{CHAT_INSTRUCTION}"


def test_chat_few_shot_in_one_turn(model: ScriptedModel, run: Callable[..., Any]) -> None:
    options = {"apply_chat_template": True, "fewshot_as_multiturn": False}
    run(model, "gsm8k_maj", num_fewshot=1, **options)
    assert first_prompt(model) == [
        {
            "role": "user",
            "content": f"Problem: {ROLLS}\nSolution: {ROLLS_SOLVED}\n\n"
            f"Problem: {QUESTION}{CHAT_INSTRUCTION}",
        },
        {"role": "assistant"},
    ]
    assert model.arguments[0]["until"] == [*CHAT_STOPS]


def test_a_system_prompt_without_chat_comes_first(
    model: ScriptedModel, run: Callable[..., Any]
) -> None:
    run(model, "gsm8k_maj", system_instruction="Be kind.")
    assert first_prompt(model).startswith(f"Be kind.\n\n{PLAIN_INSTRUCTION}Problem: Shelf 0")


@pytest.mark.parametrize(
    ("task", "examples"),
    [
        pytest.param("gsm8k_5shot_em", GSM8K_EXAMPLES[:5], id="GSM8K"),
        pytest.param("math500_4shot_maj", MATH_EXAMPLES[:4], id="MATH-500"),
    ],
)
def test_all_questions_share_the_prefix_of_the_first_examples(
    task: str, examples: Any, model: ScriptedModel, run: Callable[..., Any]
) -> None:
    results = run(model, task)
    shown = "".join(f"Problem: {one.problem}\nSolution: {one.solution}\n\n" for one in examples)
    for sample in results["samples"][task]:
        prompt = sample["arguments"][0][0]
        asked = f"Problem: {sample['doc']['problem']}\nSolution:"
        assert prompt == PLAIN_INSTRUCTION + shown + asked


@pytest.mark.parametrize("chat", [True, False])
def test_a_users_stop_strings_win(
    chat: bool, model: ScriptedModel, run: Callable[..., Any]
) -> None:
    run(model, "gsm8k_maj", gen_kwargs={"until": ["###"]}, apply_chat_template=chat)
    assert model.arguments[0]["until"] == ["###"]


@pytest.mark.parametrize(
    ("chat", "turns", "count", "layout"),
    [
        (False, False, 5, PLAIN),
        (False, True, 0, PLAIN),
        (True, True, 5, CHAT),
        (True, True, 0, CHAT),
        (True, False, 0, CHAT),
        (True, False, 5, CHAT_ONE_TURN),
    ],
)
def test_flags_choose_the_layout(chat: bool, turns: bool, count: int, layout: Any) -> None:
    assert choose(chat, turns, count) is layout
