"""All of RULER as lm-eval loads and runs it: names, groups, what is left out, metadata."""

import json
import re
from pathlib import Path
from typing import Any

import lm_eval
import pytest
import question_sets
import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable, make_table

from iha_eval.errors import UserError
from iha_eval.ruler import ALL_LENGTHS, FAMILIES, TASKS, leaf_name, length_label
from iha_eval.ruler.qa import question_set

FOLDER = Path(__file__).parents[2] / "tasks"


class Perfect(LM):
    """A model that lists the right answers; it keeps the prompts it got."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Instance] = []

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        del disable_tqdm
        self.requests += requests
        return [" " + ", ".join(request.doc["outputs"]) for request in requests]

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    return question_sets.write(tmp_path / "sets")


def manager(**metadata: Any) -> TaskManager:
    named = {"haystack": "kjv", "documents": 3, **metadata}
    return TaskManager(include_path=str(FOLDER), include_defaults=False, metadata=named)


def run(*tasks: str, model: LM | None = None, **metadata: Any) -> Any:
    results = lm_eval.simple_evaluate(
        model=model or Perfect(),
        tasks=list(tasks),
        task_manager=manager(**metadata),
        bootstrap_iters=100,
    )
    return json.loads(json.dumps(results, default=handle_non_serializable))


def test_every_leaf_and_group_has_its_file() -> None:
    names = {name for name in manager().task_index if not name.startswith("ruler_mk")}
    labels = [length_label(length) for length in ALL_LENGTHS]
    leaves = {leaf_name(title, length) for title in TASKS for length in ALL_LENGTHS}
    groups = {f"ruler_all{family}_{n}" for family in ("", "_niah", "_qa") for n in labels}
    families = {f"ruler_all_{family}" for family in FAMILIES}
    wanted = leaves | groups | families | {"ruler_all", "ruler_all_lengths"}
    assert {name for name in names if name.startswith("ruler")} == wanted
    assert len(leaves) == 78


def test_files_say_what_their_names_say() -> None:
    for path in (FOLDER / "ruler").glob("*.yaml"):
        plain = "\n".join(x for x in path.read_text().splitlines() if "!function" not in x)
        content = yaml.safe_load(plain)
        if "length" in content.get("dataset_kwargs", {}):
            cell = content["dataset_kwargs"]
            assert content["task"] == leaf_name(cell["task"], cell["length"])
            assert path.stem == content["task"].removeprefix("ruler_")
        elif "task" in content:
            assert path.stem == content["task"]


def test_no_name_is_one_of_lm_evals() -> None:
    files = (Path(lm_eval.__file__).parent / "tasks").glob("**/*.yaml")
    theirs = {
        line.split(":", 1)[1].strip()
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("task:", "group:", "tag:", "  - ")) and ":" in line
    }
    assert "ruler" in theirs
    assert theirs.isdisjoint(name for name in manager().task_index if name.startswith("ruler"))


def test_all_thirteen_tasks_of_a_length_score_in_full(sets: Path) -> None:
    model = Perfect()
    results = run("ruler_all_16k", model=model, data=str(sets))
    group = results["results"]["ruler_all_16k"]
    assert (group["string_match,none"], group["strict_match,none"]) == (1.0, 1.0)
    assert group["alias"] == "ruler_all_16k"
    leaves = [leaf_name(title, 16384) for title in TASKS]
    assert results["group_subtasks"]["ruler_all_16k"] == leaves
    assert set(results["results"]["ruler_qa_1_16k"]) >= {"exact_match,none", "f1,none"}
    budgets = {r.task_name: r.args[1]["max_gen_toks"] for r in model.requests}
    assert budgets == {leaf_name(title, 16384): task.new_tokens for title, task in TASKS.items()}
    assert len(model.requests) == 39
    metadata = results["configs"]["ruler_qa_2_16k"]["metadata"]
    assert metadata["data_source"].endswith("hotpot_dev_distractor_v1.json")
    assert "left_out" not in metadata


def test_prompts_end_in_the_answer_prefix_to_the_last_space(sets: Path) -> None:
    model = Perfect()
    run("ruler_vt_8k", "ruler_fwe_8k", model=model)
    prompts = {r.task_name: r.args[0] for r in model.requests}
    assert prompts["ruler_vt_8k"].endswith(", they are: ")
    assert "in the text above. Answer: According to the chain(s)" in prompts["ruler_vt_8k"]
    prefix = (
        "Answer: According to the coded text above, the three most frequently appeared words are:"
    )
    assert prompts["ruler_fwe_8k"].endswith(f" words in the above coded text? {prefix}")


def test_without_the_question_sets_a_mean_is_called_eleven_of_thirteen(tmp_path: Path) -> None:
    results = run("ruler_all_16k", data=str(tmp_path))
    assert results["results"]["ruler_all_16k"]["alias"] == "ruler_all_16k (11 of 13)"
    assert "ruler_all_16k (11 of 13)" in make_table(results, "groups").replace("|", "")
    assert len(results["group_subtasks"]["ruler_all_16k"]) == 11


def test_what_has_no_room_in_a_length_is_left_out_of_its_groups(sets: Path) -> None:
    """The small vocabulary of these tests has no room for cwe in 4,096 tokens."""
    loaded = manager(data=str(sets)).load("ruler_all_4k")
    assert "ruler_cwe_4k" not in loaded["tasks"]
    assert loaded["groups"]["ruler_all_4k"].alias == "ruler_all_4k (12 of 13)"
    with pytest.raises(UserError, match="4096 tokens is too short for cwe"):
        run("ruler_cwe_4k")


def test_a_later_document_without_room_is_seen_before_the_run() -> None:
    """And the length that is asked for holds all documents."""
    cwe: Any = {"lengths": [5376], "tasks": "cwe"}
    manager(**cwe, documents=1).load("ruler_all_lengths")
    with pytest.raises(UserError, match="5376 tokens is too short for cwe") as error:
        manager(**cwe, documents=40).load("ruler_all_lengths")
    enough = int(re.search(r"ask for (\d+)\.", str(error.value))[1])  # type: ignore[index]
    results = run("ruler_all_lengths", **cwe | {"lengths": [enough]}, documents=40)
    assert results["n-samples"][leaf_name("cwe", enough)]["effective"] == 40


def test_where_no_task_has_room_one_sentence_says_what_the_length_lacks(tmp_path: Path) -> None:
    sentence = "^A length of 60 tokens is too short for niah_single_1: [^.]*[.]$"
    with pytest.raises(UserError, match=sentence):
        manager(lengths=[60], data=str(tmp_path)).load("ruler_all_lengths")


def test_families_and_several_lengths(sets: Path) -> None:
    loaded = manager(data=str(sets)).load(["ruler_all_qa", "ruler_all_vt"])
    assert loaded["group_map"]["ruler_all_qa"] == [f"ruler_all_qa_{n}k" for n in (4, 8, 16)]
    assert loaded["group_map"]["ruler_all_qa_8k"] == ["ruler_qa_1_8k", "ruler_qa_2_8k"]
    assert loaded["group_map"]["ruler_all_vt"] == [f"ruler_vt_{n}k" for n in (4, 8, 16)]


def test_any_length_and_choice_of_tasks_by_metadata() -> None:
    results = run("ruler_all_lengths", lengths=[2048, 3000], tasks=["vt", "fwe"], documents=2)
    assert results["group_subtasks"]["ruler_all_2k"] == ["ruler_vt_2k", "ruler_fwe_2k"]
    assert results["group_subtasks"]["ruler_all_3000"] == ["ruler_vt_3000", "ruler_fwe_3000"]
    assert results["n-samples"]["ruler_vt_3000"]["original"] == 2
    with pytest.raises(UserError, match="metadata 'tasks' is 'nothing': name one or some of niah"):
        manager(lengths=[1024], tasks="nothing").load("ruler_all_lengths")
    with pytest.raises(UserError, match="use --tasks ruler_all_lengths for others"):
        manager(lengths=[1024]).load("ruler_vt_4k")


def test_a_mean_of_chosen_tasks_says_of_how_many() -> None:
    group = manager(tasks=["vt", "fwe"]).load("ruler_all_4k")["groups"]["ruler_all_4k"]
    assert group.alias == "ruler_all_4k (2 of 13)"
    assert (group.metadata["ruler_tasks"], group.metadata["left_out"]) == ("2 of 13", [])


def test_tasks_are_chosen_in_groups_alone() -> None:
    loaded = manager(tasks="niah_single_1").load("ruler_all_niah_4k")
    assert loaded["groups"]["ruler_all_niah_4k"].alias == "ruler_all_niah_4k (1 of 8)"
    assert list(loaded["tasks"]) == ["ruler_niah_single_1_4k"]
    with pytest.raises(UserError, match="metadata 'tasks' is 'vt': name one or some of fwe"):
        manager(tasks="vt").load("ruler_all_fwe")
    for leaf in ("ruler_vt_4k", "ruler_mk_multikey_1_4k"):
        with pytest.raises(UserError, match=f"{leaf} does not follow metadata 'tasks'"):
            manager(tasks="vt").load(leaf)


def test_a_haystack_that_is_not_there_leaves_no_task_out(tmp_path: Path) -> None:
    """No other length would help, so the user is told before anything runs."""
    with pytest.raises(UserError, match="haystack '/nowhere' is neither"):
        manager(haystack="/nowhere", data=str(tmp_path)).load("ruler_all_4k")


def test_settings_stand_in_the_results() -> None:
    results = run("ruler_vt_4k", layout="nvidia", spelling="old", documents=2)
    metadata = results["configs"]["ruler_vt_4k"]["metadata"]
    assert (metadata["layout"], metadata["spelling"]) == ("nvidia", "old")
    assert len(metadata["documents_sha256"]) == 64
    assert metadata["haystack"] == "noise"


def test_results_name_no_haystack_of_a_task_that_has_none() -> None:
    results = run("ruler_fwe_8k", haystack="kjv", documents=2)
    assert results["configs"]["ruler_fwe_8k"]["metadata"]["haystack"] is None


def test_a_qa_task_by_itself_says_what_it_lacks(tmp_path: Path) -> None:
    question_set.cache_clear()
    with pytest.raises(UserError, match=r"put the SQuAD 2\.0 development set there"):
        run("ruler_qa_1_4k", data=str(tmp_path))
    with pytest.raises(UserError, match="HotpotQA"):
        manager(data=str(tmp_path)).load("ruler_all_qa_4k")


def test_the_multikey_tasks_have_the_documents_of_ruler_mk() -> None:
    results = run("ruler_niah_multikey_3_4k", "ruler_mk_multikey_3_4k")
    hashes = {
        name: config["metadata"]["documents_sha256"] for name, config in results["configs"].items()
    }
    assert len(hashes) == 2
    assert len(set(hashes.values())) == 1
