"""`iha-eval inspect`: table, JSON, page, mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from page_outline import Outline
from playwright.sync_api import Browser
from tiny_models import HYBRID, tiny_config, tiny_model
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM

from iha_eval.checkpoint_report.page import sections
from iha_eval.checkpoint_report.table import flops, ratio, span
from iha_eval.cli import inspect, main
from iha_eval.util.numbers import MISSING
from model_adapters.cost import model_shape

TIMES, TO = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
# Window 512 and P = 2 are FLOP-matched here.
MATCHED = ["--context", "4096"]


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four windowed IHA layers and a full one; the first layer's pseudo-heads 1 are dead."""
    folder = tmp_path_factory.mktemp("made") / "<b>hybrid"
    model = tiny_model(HYBRID, iha_window=512).bfloat16()
    with torch.no_grad():
        model.model.layers[0].self_attn.collapse.unflatten(1, (4, 2))[..., 1] = 0
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def page(hybrid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "hybrid.html"
    assert main(["inspect", str(hybrid), *MATCHED, "--html", str(file)]) == 0
    return file


def facts(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `--json` prints."""
    assert main(["inspect", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_table_shows_kinds_costs_weights_and_notes(
    hybrid: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["inspect", str(hybrid), *MATCHED]) == 0
    printed = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in printed.splitlines()]
    assert any(row.startswith(f"4 {TIMES} iha sliding 2 512 ") for row in rows)
    assert any(row.startswith(f"1 {TIMES} full 1 {MISSING} ") for row in rows)
    model = model_shape(tiny_config(HYBRID, iha_window=512))
    counts = f"{model.parameters:,} {model.baseline.parameters:,}"
    assert f"parameters {counts} 1{TIMES}" in rows
    assert f"KV bytes a request, exact 2.0 MiB 5.0 MiB 0.4{TIMES}" in rows
    assert next(row for row in rows if row.endswith("4 of 8")).startswith("0 ")
    assert sum(row.endswith("0 of 8") for row in rows) == 3
    assert any("FLOP-matched at a context of 4,096 tokens" in row for row in rows)
    assert max(map(len, printed.splitlines()[1:40])) <= 80


def test_json_has_every_layer_and_head(hybrid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(capsys, str(hybrid), *MATCHED)
    assert found["checkpoint"]["name"] == "<b>hybrid"
    assert len(found["checkpoint"]["fingerprint"]) == 64
    assert [one["numbers"] for one in found["layers"]] == [[0, 1, 2, 3], [4]]
    # 2 (H^2 + G^2) P a layer.
    assert found["layers"][0]["mixing_parameters"] == 2 * (16 + 4) * 2
    assert found["model"]["mixing_parameters"] == 4 * 80
    # One layer's share of the whole.
    total = sum(len(one["numbers"]) * one["decode_flops"]["attention"] for one in found["layers"])
    assert total == found["model"]["decode_flops"]["attention"]
    assert found["model"]["kv_bytes"] / found["baseline"]["kv_bytes"] == pytest.approx(0.4)
    # MapMixing weights of the windowed layers; the full one has none.
    layers = found["mixing"]["layers"]
    assert [layer["layer"] for layer in layers] == [0, 1, 2, 3]
    assert layers[0]["collapse"]["dead"] == [[head, 1] for head in range(4)]
    assert len(layers[1]["alpha_q"]["head_distances"]) == 4
    assert len(layers[1]["alpha_k"]["head_distances"]) == 2
    assert [len(row) for row in layers[1]["collapse"]["masses"]] == [2] * 4


def test_a_plain_checkpoint_is_its_own_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = tiny_config(["full"] * 2).to_dict()
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    heads = ("num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings")
    config = LlamaConfig(**{name: fields[name] for name in (*names, *heads)})
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    found = facts(capsys, str(tmp_path))
    assert found["context"] == 4096
    assert found["model"] == found["baseline"]
    assert (found["mixing"], found["notes"]) == (None, [])
    assert sections(found) == []
    assert main(["inspect", str(tmp_path), "--html", str(tmp_path / "page.html")]) == 0
    outline = Outline((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert outline.texts("h2") == ["Kinds of layer", "Costs at 4,096 tokens", "Notes"]


def test_embedded_checkpoints_go_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(capsys, "embedded-iha", *MATCHED)
    assert found["checkpoint"]["name"] == "embedded-iha"
    assert found["notes"][0].startswith("This is the embedded default checkpoint: hybrid 4:1, P=2")
    baseline = facts(capsys, "embedded-baseline", *MATCHED)
    assert baseline["model"] == found["baseline"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--context", "10000"], "10,000 tokens are beyond the checkpoint's max_position_emb"),
        (["--gpu-memory", "0.00001"], "The weights alone do not fit the GPU."),
        (["--gpu-memory", "0.001"], "Beside the weights the GPU holds no request of 4,096 tokens."),
        ([], None),
        (
            ["--gpu-memory", "0.02"],
            "vLLM lets 4 of the 8 requests of 4,096 tokens that fit run at once, because it wants "
            "cache for all tokens of a step free before it takes the next: with "
            "max_num_batched_tokens=64 it lets 8.",
        ),
        (["--gpu-memory", "0.02", "--batched-tokens", "64"], None),
        (
            ["--context", "16", "--batched-tokens", "16", "--gpu-memory", "0.00056"],
            "vLLM lets 0 of the 1 requests of 16 tokens that fit run at once, because it wants "
            "cache for all tokens of a step free before it takes the next, whatever max_num_b",
        ),
    ],
    ids=["beyond", "weights", "no request", "much cache", "little", "short steps", "short context"],
)
def test_notes_say_what_the_numbers_do_not(
    hybrid: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str | None
) -> None:
    notes = facts(capsys, str(hybrid), *arguments)["notes"]
    others = [note for note in notes if "FLOP-matched" not in note]
    if sentence is None:
        assert others == []
    else:
        assert sum(sentence in note for note in others) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bandwidth", "0"], "--bandwidth is 0: give a number above 0."),
        (["--gpu-memory", "nan"], "--gpu-memory is nan: give a number above 0."),
        (["--context", "-5"], "--context is -5: give a number above 0."),
        (["--context", "0"], "--context is 0: give a number above 0."),
        (["--batched-tokens", "0"], "--batched-tokens is 0: give a number above 0."),
        (["--block-size", "20"], "--block-size is 20: give a multiple of 16, as vLLM's"),
        (["--html", "/nowhere/at.html"], "--html is /nowhere/at.html, whose folder does not ex"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_senseless_numbers_end_in_one_line(
    hybrid: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    said = refused(capsys, str(hybrid), *arguments)
    assert said.startswith(f"iha-eval: {sentence}")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    # What making the checkpoint has said.
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["inspect", *arguments])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_page_that_cannot_be_written_ends_in_one_line(
    hybrid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, str(hybrid), "--html", str(tmp_path))
    assert (
        said == f"iha-eval: {tmp_path} cannot be written (Is a directory): name another file "
        "with --html.\n"
    )


def test_a_missing_folder_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/nowhere/at/all is not a folder here" in refused(capsys, "/nowhere/at/all")


def test_another_architecture_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    GPT2Config().save_pretrained(tmp_path)
    assert "model_type is 'gpt2', whose costs are not known" in refused(capsys, str(tmp_path))


def test_a_type_without_a_known_size_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model(["full"]).double().save_pretrained(tmp_path)
    said = refused(capsys, str(tmp_path))
    assert "holds mostly float64, whose cost in a cache is not known" in said


def test_the_page_is_whole_and_escapes_names(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    outline = Outline(html)
    assert outline.texts("h1") == ["<b>hybrid"]
    assert "<b>" not in html
    assert {url[0] for url in outline.values("href")} == {"#", "d"}
    assert list(outline.all("script", "img")) == []
    names = {element.attributes["id"] for element in outline.elements if "id" in element.attributes}
    assert {url[1:] for url in outline.values("href") if url[0] == "#"} <= names
    heat = [element for element in outline.all("table") if element.attributes["class"] == "heat"]
    # Four tensors by distance, four by rank, one collapse by use.
    assert len(heat) == 9
    drawn = [one for one in outline.all("svg") if one.attributes.get("role") == "img"]
    assert len(drawn) == 2 * 4
    assert all((one.attributes["aria-label"] or "").startswith("Heat map") for one in drawn)
    dead = next(text for text in outline.texts("li") if text.startswith("Layer 0:"))
    assert dead == "Layer 0: 4 of 8: 0.1, 1.1, 2.1, 3.1"


def test_shades_of_the_heat_maps_follow_the_numbers(
    hybrid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    distance, rank, used = sections(facts(capsys, str(hybrid), *MATCHED))
    cells = [cell for grid in distance.grids for _, row in grid.rows for cell in row]
    assert max(cell.share for cell in cells) == 1
    assert [grid.title for grid in rank.grids][-1] == "collapse"
    # A pseudo-head that the collapse takes nothing of has no rank.
    assert rank.grids[-1].rows[0][1][1].text == "0.0"
    assert 0 < used.grids[0].rows[0][1][0].share <= 0.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_the_page_is_quiet_and_fits(browser: Browser, page: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    opened, said, asked = context.new_page(), [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(page.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    # A shade of its own for each share.
    colors = opened.evaluate(
        "[...document.querySelectorAll('table.heat tbody td')]"
        ".map(cell => getComputedStyle(cell).backgroundColor)"
    )
    assert len(set(colors)) > 10
    context.close()


def test_the_smallest_and_largest_of_a_row_are_shown_once_if_alike() -> None:
    assert span([1.0, 3.04, 2.0]) == f"1.0{TO}3.0"
    assert span([2.0, 2.01]) == "2.0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.9, "1 k"),
        (1_440_000, "1.44 M"),
        (3e15, "3 P"),
        (4e18, "4e+03 P"),
    ],
)
def test_flops_have_three_figures_and_a_unit(value: float, text: str) -> None:
    assert flops(value) == text.replace(" ", "\N{NO-BREAK SPACE}")


def test_a_ratio_needs_both_numbers() -> None:
    assert ratio(1, 2) == f"0.5{TIMES}"
    assert ratio(1, 0) == ratio(None, 1) == MISSING


def test_usage_is_shown_for_anything_else(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        inspect.main(["--contxt", "3"])
    assert caught.value.code == 2
    assert "usage: iha-eval inspect" in capsys.readouterr().err
