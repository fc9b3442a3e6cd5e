"""The wrapped command line, with a stand-in for lm-eval's; the real one is met in test_resume."""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from iha_eval.errors import UserError
from iha_eval.lm_eval_plugin import command_line
from iha_eval.lm_eval_plugin.command_line import extend_command_line
from iha_eval.models import invocation
from iha_eval.models.invocation import Invocation


def harness(body):
    """What stands for `lm_eval._cli.harness`; `body` is what running a command does."""

    class HarnessCLI:
        def __init__(self):
            self.parser = argparse.ArgumentParser()
            self._subparsers = self.parser.add_subparsers()
            run = self._subparsers.add_parser("run")
            run.add_argument("--output_path")
            run.add_argument("--config")
            run.add_argument("--model")
            run.add_argument("--model_args", type=json.loads)

        def execute(self, args):
            return body(args)

    return SimpleNamespace(HarnessCLI=HarnessCLI)


def run(body, *words):
    module = harness(body)
    extend_command_line(module)
    cli = module.HarnessCLI()
    return cli.execute(cli.parser.parse_args(["run", *words]))


def seen(_args) -> Invocation:
    current = invocation.current()
    assert current is not None
    return current


def test_it_is_wrapped_once():
    module = harness(lambda _: None)
    extend_command_line(module)
    once = module.HarnessCLI.execute
    extend_command_line(module)
    assert module.HarnessCLI.execute is once


def test_the_output_and_fresh_are_seen_by_models_and_fresh_not_by_lm_eval():
    assert (run(seen).output, run(seen).fresh) == (None, False)
    command = run(seen, "--output_path", "out", "--fresh")
    assert (command.output, command.fresh) == (Path("out"), True)
    assert "fresh" not in run(vars, "--fresh")
    assert invocation.current() is None


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("output_path: from-file\nlog_samples: true\n", Path("from-file")),
        ("a: [", None),
        ("- 1\n", None),
    ],
    ids=["said there", "broken", "no mapping"],
)
def test_a_configuration_file_may_say_it(tmp_path, text, output):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    command = run(seen, "--config", str(file))
    assert (command.output, command.log_samples) == (output, output is not None)
    assert run(seen, "--config", str(file), "--output_path", "x").output == Path("x")


def test_a_configuration_file_that_is_missing_is_left_to_lm_eval(tmp_path):
    assert run(seen, "--config", str(tmp_path / "no.yaml")).output is None


def test_a_mistake_is_one_line(capsys):
    def mistaken(_args):
        raise UserError("name it")

    with pytest.raises(SystemExit) as exit_:
        run(mistaken)
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "iha-eval: name it\n"


def test_groups_that_share_a_task_are_one_line(capsys):
    def body(_args):
        raise ValueError("Duplicate task 't': found in both 'a' and 'b'")

    with pytest.raises(SystemExit) as exit_:
        run(body, "--model", "iha-vllm")
    assert exit_.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(
        "iha-eval: --tasks: Duplicate task 't': found in both 'a' and 'b': groups"
    )
    with pytest.raises(ValueError, match="Duplicate"):
        run(body, "--model", "hf")


@pytest.mark.parametrize(("model", "shown"), [("iha-hf", "***"), ("hf", "zx81secret")])
def test_lm_eval_gets_model_arguments_without_secrets_and_models_get_them_back(model, shown):
    given = {"pretrained": "x", "hf_token": "zx81secret"}

    def body(args):
        command = invocation.current()
        return args.model_args, command.reveal(args.model_args)

    for_lm_eval, for_the_model = run(body, "--model", model, "--model_args", json.dumps(given))
    assert for_lm_eval == {**given, "hf_token": shown}
    assert for_the_model == given


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["--model", "iha-vllm"], {"pretrained": "embedded-iha"}),
        (
            ["--model", "iha-hf", "--model_args", '{"dtype": "float32"}'],
            {"dtype": "float32", "pretrained": "embedded-iha"},
        ),
        (["--model", "iha-vllm", "--model_args", '{"pretrained": "x"}'], {"pretrained": "x"}),
        (["--model", "hf"], None),
        ([], None),
    ],
)
def test_results_of_the_embedded_model_go_by_its_name(words, arguments):
    """lm-eval draws a name for the folder and for model_name where no `pretrained` is given."""
    assert run(lambda args: args.model_args, *words) == arguments


@pytest.mark.parametrize("output", [[], ["--output_path", "out"]], ids=["nowhere", "out"])
def test_an_interrupted_run_of_ours_ends_in_a_line(output, capsys):
    def body(_args):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run(body, "--model", "iha-vllm", *output)
    assert caught.value.code == 130
    told = capsys.readouterr().err.strip()
    assert told.startswith("iha-eval: interrupted")
    assert ("the same command goes on" in told) == bool(output)
    with pytest.raises(KeyboardInterrupt):
        run(body, "--model", "hf")


def test_so_does_one_that_is_interrupted_before_it_begins(monkeypatch, capsys):
    """Seconds go by with imports before lm-eval's own command runs."""

    def imports(_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "_with_default_model", imports)
    with pytest.raises(SystemExit) as caught:
        run(seen, "--model", "iha-hf")
    assert caught.value.code == 130
    assert capsys.readouterr().err.strip() == "iha-eval: interrupted."
