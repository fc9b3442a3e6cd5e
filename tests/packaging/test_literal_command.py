"""The main job as a user starts it: the literal command from an installed wheel."""

import ast
import json

import pytest

TASK = "ruler_mk_multikey_2_4k"
LENGTHS = ("4k", "8k", "16k")


@pytest.mark.slow
def test_the_main_job_from_an_installed_wheel(environments, tmp_path):
    wheel = environments("wheel")
    options = ["--limit", "1", "--output_path", str(tmp_path), "--log_samples"]
    wheel.check("lm_eval", "--model", "iha-vllm", "--tasks", "ruler_mk", *options)

    [result] = tmp_path.rglob("results_*.json")
    content = json.loads(result.read_text())
    leaves = [f"ruler_mk_multikey_{n}_{length}" for n in (1, 2, 3) for length in LENGTHS]
    groups = ["ruler_mk", *(f"ruler_mk_{length}" for length in LENGTHS)]
    assert set(content["results"]) == {*leaves, *groups}
    for scores in content["results"].values():
        assert 0 <= scores["first_answer,none"] <= scores["string_match,none"] <= 1
    for leaf in leaves:
        assert content["n-samples"][leaf] == {"original": 500, "effective": 1}
        assert len(content["configs"][leaf]["metadata"]["documents_sha256"]) == 64
    assert content["config"]["model"] == "iha-vllm"
    ours = content["config"]["iha_eval"]
    assert "one seed" in ours["checkpoint"]["note"]
    assert ours["max_model_len"] == 16384
    assert ours["summary"][0]["requests"] == 9

    [samples] = tmp_path.rglob(f"samples_{TASK}_*.jsonl")
    [sample] = map(json.loads, samples.read_text().splitlines())
    prompt = sample["arguments"]["gen_args_0"]["arg_0"]
    assert prompt.count("One of the special magic numbers for ") > 50
    # lm-eval writes the list of right answers as text.
    [answer] = ast.literal_eval(sample["target"])
    assert f" is: {answer}." in prompt
    assert isinstance(sample["resps"][0][0], str)


@pytest.mark.long
def test_a_checkpoint_that_is_not_there_ends_it_in_one_line(environments, tmp_path):
    missing = tmp_path / "nowhere"
    options = ["--tasks", TASK, "--limit", "1", "--model_args", f"pretrained={missing}"]
    done = environments("wheel").run("lm_eval", "--model", "iha-vllm", *options)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("iha-eval: ")
    assert str(missing) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
