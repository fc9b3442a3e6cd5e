"""`iha-eval export-remote-code`: the folder loads without the package, and says what it is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_models import MODERN, random_ids, tiny_model, tiny_nanochat
from variants import WINDOW_ROPE

from iha_eval.cli import main
from iha_eval.cli._remote_code import MODULES, NANOCHAT, modules
from model_adapters import IHAConfig, IHANanoChatConfig, checkpoint
from model_adapters.convert import to_plain

IDS = random_ids(33)
# Modules of the package are refused wherever they would be imported from.
CHILD = """
import json, sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("iha_eval", "model_adapters", "tasks"):
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, Refuse())
import torch
from transformers import AutoModelForCausalLM
folder, ids = sys.argv[1], torch.tensor([json.loads(sys.argv[2])])
try:
    AutoModelForCausalLM.from_pretrained(folder)
except ValueError as error:
    assert "trust_remote_code" in str(error), error
else:
    raise AssertionError("it was loaded unasked")
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
torch.save(model(ids).logits, sys.argv[3])
cached, whole = (
    model.generate(ids, max_new_tokens=8, do_sample=False, use_cache=use).tolist()
    for use in (True, False)
)
assert cached == whole
"""


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """All four kinds of layer, and most of the format's fields."""
    if getattr(request, "param", None) == "nanochat":
        tiny_nanochat(**MODERN).save_pretrained(tmp_path / "made")
        return tmp_path / "made"
    model = tiny_model(
        iha_window=9,
        qk_norm="projection_before_mixing",
        qk_norm_weight="projection",
        block_norm="after",
        window_rope_parameters=WINDOW_ROPE,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        head_gate_channels=12,
        collapse="per_head",
    )
    made = tmp_path / "made"
    model.save_pretrained(made)
    return made


@pytest.mark.slow(30)
@pytest.mark.parametrize("folder", ["llama", "nanochat"], indirect=True)
@torch.no_grad()
def test_a_folder_loads_where_the_package_is_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.read(folder).fingerprint
    assert main(["export-remote-code", str(folder)]) == 0
    assert checkpoint.read(folder).fingerprint == before
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    logits = tmp_path / "logits.pt"
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), json.dumps(IDS), str(logits)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    from transformers import AutoModelForCausalLM

    # With the package its own class is taken, whatever lies in the folder.
    ours: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    assert type(ours).__module__.startswith("model_adapters.hf.")
    assert (torch.load(logits) - ours(torch.tensor([IDS])).logits).abs().max() < 1e-5


def test_modules_are_the_package_s_and_say_so() -> None:
    made, _ = modules(IHANanoChatConfig())
    assert made.keys() == {f"{flat}.py" for flat in (MODULES | NANOCHAT).values()}
    assert modules(IHAConfig())[0].keys() == {f"{flat}.py" for flat in MODULES.values()}
    for text in made.values():
        assert text.startswith("# made by iha-eval export-remote-code 0.1.0 of model_adapters.")
        assert "\n# sha256 " in text
        assert "import model_adapters" not in text
        assert "from model_adapters" not in text


def report(folder: Path, **changes: Any) -> dict[str, Any]:
    row = {
        "task": "gsm8k_maj",
        "label": "GSM8K",
        "metric": "exact_match",
        "n": 1319,
        "iha": 0.4321,
        "iha_low": 0.40,
        "iha_high": 0.46,
        "decides": True,
    }
    model = {
        "fingerprint": checkpoint.read(folder).fingerprint,
        "date": "2026-11-29T13:49:29+00:00",
        "device": "a CPU",
        "command": ["lm_eval", "--tasks", "gsm8k_maj"],
    }
    source = {"task": "gsm8k_maj", "source": "openai/gsm8k", "sha256": "5b73", "note": None}
    return {
        "models": {"iha": model, "baseline": {"fingerprint": "other"}},
        "tables": [{"benchmark": "gsm8k", "rows": [row | changes]}],
        "provenance": {"datasets": [source]},
    }


def test_the_card_has_data_results_and_the_command(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report(folder)))
    command = ["export-remote-code", str(folder), "--report", str(file), "--data", "Fairy tales."]
    assert main(command) == 0
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "| GSM8K | exact_match | 1319 | 0.432 | 0.400 to 0.460 |" in card
    assert "Fairy tales." in card
    assert "- gsm8k_maj: openai/gsm8k, sha256 5b73" in card
    assert "iha-eval export-remote-code made --report report.json --data 'Fairy tales.'" in card
    assert str(tmp_path) not in card
    assert "lm_eval --tasks gsm8k_maj" in card
    [entry] = yaml.safe_load((folder / ".eval_results" / "iha-eval.yaml").read_text())
    assert entry["dataset"] == {"id": "openai/gsm8k", "task_id": "gsm8k"}
    assert entry["value"] == 0.4321
    # A second time, in the place of the first.
    assert main(command) == 0


def test_a_part_of_a_test_set_is_no_result_of_it(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report(folder, n=100)))
    assert main(["export-remote-code", str(folder), "--report", str(file)]) == 0
    assert not (folder / ".eval_results").exists()


def test_what_others_wrote_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "README.md").write_text("Mine.")
    assert main(["export-remote-code", str(folder)]) == 0
    assert (folder / "README.md").read_text() == "Mine."
    assert "is yours and stays" in capsys.readouterr().out
    (folder / "modeling_iha.py").write_text("MINE = 1\n")
    with pytest.raises(SystemExit) as ended:
        main(["export-remote-code", str(folder)])
    assert ended.value.code == 2
    assert "modeling_iha.py is not of this command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "is no report.json of iha-eval compare"),
        (json.dumps({"models": {s: {"fingerprint": s} for s in ("iha", "baseline")}}), "no report"),
    ],
)
def test_other_reports_are_refused(
    content: str, said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    file.write_text(content)
    with pytest.raises(SystemExit):
        main(["export-remote-code", str(folder), "--report", str(file)])
    assert said in capsys.readouterr().err


def test_a_report_of_other_models_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    other = report(folder)
    other["models"]["iha"]["fingerprint"] = "f00d"
    file.write_text(json.dumps(other))
    with pytest.raises(SystemExit):
        main(["export-remote-code", str(folder), "--report", str(file)])
    assert "fingerprints f00d and other" in capsys.readouterr().err


def test_the_plain_form_has_no_code(tmp_path: Path) -> None:
    from plain_models import save_plain

    from model_adapters.convert import Recipe, upcycle

    iha = upcycle(save_plain(tmp_path / "base"), tmp_path / "iha", Recipe(1)).made.path
    assert main(["export-remote-code", str(iha)]) == 0
    plain = to_plain(iha, tmp_path / "plain").made.path
    assert "auto_map" not in json.loads((plain / "config.json").read_text())
    with pytest.raises(SystemExit):
        main(["export-remote-code", str(plain)])
