"""Configurations: what is read, and what every mistake is told."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.nightly.config import Rules, read_config

EXAMPLE = Path(__file__).parents[2] / "examples" / "nightly.yaml"


def entries(**changes: Any) -> dict[str, Any]:
    model = {"model_args": {"pretrained": "x"}}
    whole = {
        "models": {"iha": model, "baseline": model},
        "tasks": ["ruler_mk"],
        "output": "nights",
        "history": "history",
    }
    return {name: value for name, value in (whole | changes).items() if value != "gone"}


def write(folder: Path, value: Any) -> Path:
    path = folder / "n.yaml"
    path.write_text(json.dumps(value))
    return path


def iha(**changes: Any) -> dict[str, Any]:
    model = {"model_args": {"pretrained": "x"}}
    return {"models": {"iha": {**model, **changes}, "baseline": model}}


def task(**settings: Any) -> dict[str, Any]:
    return {"tasks": [{"task": "t", **settings}]}


def test_the_example_is_read_with_all_its_comments_uncommented_too(tmp_path: Path) -> None:
    config = read_config(EXAMPLE)
    assert [one.name for one in config.tasks] == ["ruler_mk", "gsm8k_maj", "math500_maj"]
    assert config.timeout == 8 * 3600
    assert config.rules == Rules(drop=1.0)
    text = EXAMPLE.read_text()
    options = [line for line in text.splitlines() if line.lstrip().startswith("# ")]
    keys = ("model:", "arguments:", "environment:", "command:", "limit:", "gen_kwargs:")
    keys += ("metadata:", "num_fewshot:", "unpaired:", "metrics:")
    for line in options:
        if line.lstrip("# ").startswith(keys):
            text = text.replace(line, line.replace("# ", "", 1))
    whole = tmp_path / "whole.yaml"
    whole.write_text(text)
    found = read_config(whole)
    assert found.models["iha"].command[0] == "/opt/eval/bin/python"
    assert found.models["iha"].environment == {"CUDA_VISIBLE_DEVICES": "0"}
    assert found.models["iha"].extra == ("--batch_size", "16")
    assert set(found.tasks[1].settings) == {
        *("limit", "gen_kwargs", "metadata", "num_fewshot", "apply_chat_template"),
    }
    assert found.rules.metrics == ("string_match", "p@1", "maj@16")


def test_defaults_and_folders(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, entries()))
    assert config.models["baseline"].model == "iha-vllm"
    assert config.models["iha"].command == (sys.executable, "-m", "iha_eval", "run")
    assert (config.output, config.history) == (tmp_path / "nights", tmp_path / "history")
    assert (config.timeout, config.unpaired, config.rules) == (None, False, Rules())
    assert config.folder == tmp_path


@pytest.mark.parametrize(
    ("arguments", "pretrained"),
    [
        ({"pretrained": "a/b"}, "a/b"),
        ("dtype=float32,pretrained=a/b", "a/b"),
        ({"dtype": "float32"}, None),
        ("dtype=float32", None),
    ],
)
def test_the_checkpoint_of_a_model(arguments: Any, pretrained: str | None, tmp_path: Path) -> None:
    config = read_config(write(tmp_path, entries(**iha(model_args=arguments))))
    assert config.models["iha"].pretrained == pretrained


@pytest.mark.parametrize(
    ("given", "seconds"), [(90, 90), ("90", 90), ("90m", 5400), ("1.5h", 5400), ("1d", 86400)]
)
def test_times(given: Any, seconds: float, tmp_path: Path) -> None:
    assert read_config(write(tmp_path, entries(timeout=given))).timeout == seconds


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"taks": []}, "n.yaml: taks is not a setting: did you mean 'tasks'?"),
        ({"zzz": 1}, "n.yaml: zzz is not a setting: there are models, tasks,"),
        ({"output": "gone"}, "n.yaml: output is missing: give the path of a folder."),
        ({"history": 7}, "n.yaml: history is 7: give the path of a folder."),
        ({"models": "gone"}, "n.yaml: models is missing: name the models iha and baseline."),
        ({"models": [1]}, "n.yaml: models is [1]: give a mapping of iha, baseline"),
        ({"models": {"iha": {"model_args": "a=b"}}}, "n.yaml: models.baseline is missing: "),
        ({"models": {"ihaa": {}}}, "n.yaml: models.baseline is missing: "),
        ({"models": {"baseline": {}}}, "n.yaml: models.iha is missing: name a model to compare"),
        ({"models": {"a/b": {}, "baseline": {}}}, "n.yaml: models.a/b: a model is named by"),
        ({"models": {"merged": {}, "baseline": {}}}, "n.yaml: models.merged: a model is named by"),
        (iha(modle="x"), "n.yaml: models.iha.modle is not a setting: did you mean 'model'?"),
        (iha(model=3), "n.yaml: models.iha.model is 3: give lm-eval's name of a model class."),
        (iha(model=" "), "n.yaml: models.iha.model is ' ': "),
        (iha(model_args=None), "n.yaml: models.iha.model_args is missing: "),
        (iha(model_args="x"), "n.yaml: models.iha.model_args is 'x': give a mapping such as"),
        (iha(command=[]), "n.yaml: models.iha.command is []: "),
        (iha(command=[True]), "n.yaml: models.iha.command is [True]: "),
        (iha(arguments=["--tasks", "x"]), "is ['--tasks', 'x']: leave --tasks out: "),
        (iha(arguments=["--limit=3"]), "leave --limit=3 out: "),
        (iha(arguments=["-o"]), "leave -o out: "),
        (iha(environment=["A"]), "n.yaml: models.iha.environment is ['A']: "),
        ({"tasks": []}, "n.yaml: tasks is []: give a list of lm-eval's task names"),
        ({"tasks": "ruler_mk"}, "n.yaml: tasks is 'ruler_mk': "),
        ({"tasks": [3]}, "n.yaml: tasks[0] is 3: give a task name"),
        ({"tasks": ["a,b"]}, "n.yaml: tasks[0] is 'a,b': name one task a line."),
        ({"tasks": ["a", {"task": "a"}]}, "n.yaml: tasks has 'a' 2 times: "),
        ({"tasks": [{"limit": 3}]}, "n.yaml: tasks[0].task is missing: "),
        (task(limits=3), "n.yaml: tasks[0].limits is not a setting: did you mean 'limit'?"),
        (task(limit=0), "n.yaml: tasks[0].limit is 0: write a number of questions"),
        (task(limit=True), "n.yaml: tasks[0].limit is True: "),
        (task(limit="many"), "n.yaml: tasks[0].limit is 'many': "),
        (task(limit=2.5), "n.yaml: tasks[0].limit is 2.5: "),
        (task(metadata=[1]), "n.yaml: tasks[0].metadata is [1]: give a mapping"),
        (task(gen_kwargs="a=b"), "n.yaml: tasks[0].gen_kwargs is 'a=b': "),
        (task(num_fewshot=-1), "n.yaml: tasks[0].num_fewshot is -1: "),
        (task(num_fewshot=True), "n.yaml: tasks[0].num_fewshot is True: "),
        (task(apply_chat_template=1), "n.yaml: tasks[0].apply_chat_template is 1: "),
        ({"timeout": "soon"}, "n.yaml: timeout is 'soon': write a time above zero"),
        ({"timeout": 0}, "n.yaml: timeout is 0: "),
        ({"timeout": True}, "n.yaml: timeout is True: "),
        ({"unpaired": "yes"}, "n.yaml: unpaired is 'yes': write true or false."),
        ({"regression": 3}, "n.yaml: regression is 3: give a mapping of metrics, drop"),
        ({"regression": {"alpha": 2}}, "n.yaml: regression.alpha is 2: write a number from 1e-09"),
        ({"regression": {"alpha": "x"}}, "n.yaml: regression.alpha is 'x': "),
        ({"regression": {"drop": -1}}, "n.yaml: regression.drop is -1: "),
        ({"regression": {"baseline": 0}}, "n.yaml: regression.baseline is 0: "),
        ({"regression": {"metrics": [[]]}}, "n.yaml: regression.metrics is [[]]: "),
        (iha(model_args="x" * 500), "xxxx...: give a mapping"),
    ],
)
def test_a_mistake_is_one_sentence(changes: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read_config(write(tmp_path, entries(**changes)))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1", "n.yaml, line 1 is not YAML that can be read: "),
        (b"a: 1\nb: 2\na: 3", "n.yaml, line 3 is not YAML that can be read: the key 'a' stands"),
        (b"\xff", "n.yaml is not UTF-8 text"),
        (b"a: \x01", "n.yaml is not YAML that can be read: "),
        (b"", "n.yaml is empty: give a mapping of models, tasks"),
        (None, "cannot be read (No such file or directory): give the path of a YAML file"),
    ],
    ids=["open bracket", "key twice", "bytes", "control character", "empty", "no file"],
)
def test_what_is_no_configuration(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "n.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_config(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [(200, 200), (0.1, 0.1), (3.0, 3), (1, 1)],
    ids=["whole", "share", "3.0", "1"],
)
def test_limits(given: Any, kept: Any, tmp_path: Path) -> None:
    [found] = read_config(write(tmp_path, entries(**task(limit=given)))).tasks
    assert found.settings == {"limit": kept}
