"""Runs of the recipe: they go on where they were, both models see the same, results are served."""

import json
import re

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import model_adapters  # noqa: F401
from iha_eval.errors import UserError
from model_adapters import checkpoint
from recipes import leave_checkpoint
from recipes.needle import __main__ as command
from recipes.needle import export as exporting
from recipes.needle import train as training
from recipes.needle.curve import draw_curves
from recipes.needle.curve import main as curve
from recipes.needle.models import KINDS, build, config, set_window
from recipes.needle.presets import PRESETS
from recipes.needle.run import LOG, SETTINGS, STATE, TrainingRun, read_log
from recipes.needle.tokenizer import make_tokenizer

CPU = torch.device("cpu")
TEST = PRESETS["test"]


def train(folder, kind="iha", seed=0, every=2, until=None):
    run = TrainingRun(folder, kind, "test", seed, every=every, evaluate_every=1)
    run.open()
    return training.train(run, CPU, until)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Both models, trained to the end."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in KINDS:
        train(folder / kind, kind)
    return folder


def weights(folder):
    return torch.load(folder / STATE, weights_only=True)["model"]


def figures(folder):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(folder)]


def test_a_run_goes_on_to_the_same_bits(runs, tmp_path):
    """Stopped within a stage and again within the next."""
    for stop in (2, 4):
        train(tmp_path, until=stop)
        assert read_log(tmp_path)[-1]["step"] == stop
    assert train(tmp_path).step == TEST.steps
    for name, tensor in weights(runs / "iha").items():
        assert torch.equal(tensor, weights(tmp_path)[name]), name


def test_what_a_crash_left_behind_is_dropped(runs, tmp_path):
    """Steps after the last saved state are made again, and their lines are not doubled."""
    train(tmp_path, until=4)
    with (tmp_path / LOG).open("a") as file:
        file.write(json.dumps({"step": 6, "loss": 99}) + "\n" + '{"step": 8, "lo')
    train(tmp_path)
    assert figures(tmp_path) == figures(runs / "iha")


def test_both_models_see_the_same_batches(tmp_path, monkeypatch):
    seen, real = [], training.batch
    monkeypatch.setattr(training, "batch", lambda *a: seen.append(real(*a)) or seen[-1])
    for kind in KINDS:
        train(tmp_path / kind, kind)
    assert len(seen) == 2 * TEST.steps
    for ours, theirs in zip(seen[: TEST.steps], seen[TEST.steps :], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_both_models_start_with_the_same_weights():
    tokenizer = make_tokenizer()
    ours, theirs = (build(kind, TEST, tokenizer, 3).state_dict() for kind in KINDS)
    assert {name.rsplit(".", 1)[1] for name in ours.keys() - theirs.keys()} == {
        "alpha_q",
        "alpha_k",
        "alpha_v",
        "collapse",
    }
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    other = build("baseline", TEST, tokenizer, 4).state_dict()
    assert not torch.equal(other["model.embed_tokens.weight"], ours["model.embed_tokens.weight"])


def test_a_question_leans_to_its_line_before_training():
    """At its value's start a new model looks at that of the line with the same key, in all layers.

    Without that a run spends a million tokens at chance.
    """
    tokenizer = make_tokenizer()
    model = build("baseline", PRESETS["tiny"], tokenizer, 0)
    model.set_attn_implementation("eager")
    lines = " for oafish-penguin is: 1234567.\n for lucky-chef is: 7654321.\n"
    question = " for oafish-penguin mentioned in the provided text is 1"
    ids = tokenizer(lines + question, return_tensors="pt").input_ids
    values = [i for i, token in enumerate(tokenizer.convert_ids_to_tokens(ids[0])) if token == "Ġ"]
    with torch.no_grad():
        layers = model.model(ids, output_attentions=True).attentions
    for weights in layers[1:]:
        right, wrong = weights[0, :, values[2], values[:2]].mean(0).tolist()
        assert right > 1.05 * wrong


def test_seeds_and_kinds_give_different_weights(runs, tmp_path):
    train(tmp_path, seed=1)
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(weights(tmp_path)[name], weights(runs / "iha")[name])
    assert not torch.equal(weights(runs / "baseline")[name], weights(runs / "iha")[name])


def test_training_moves_every_tensor(runs):
    start = build("iha", TEST, make_tokenizer(), 0).state_dict()
    still = [name for name, t in weights(runs / "iha").items() if torch.equal(t, start[name])]
    assert not still


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_flop_matched_at_its_longest(preset):
    figures = PRESETS[preset]
    longest = max(stage.length for stage in figures.stages)
    settings = config("iha", figures, make_tokenizer())
    assert settings.iha_window == longest // 8
    assert settings.layer_kinds == (["iha_sliding"] * 4 + ["full"]) * (figures.layers // 5)
    model = build("iha", TEST, make_tokenizer(), 0)
    set_window(model, 4096)
    windows = [layer.self_attn.recipe.mask.window for layer in model.model.layers]
    assert windows == [512] * 4 + [None]


@pytest.mark.parametrize("preset", ["tiny", "gpu"])
def test_exports_fit_the_wheel(preset):
    """At most 8 MiB a model in bfloat16."""
    with torch.device("meta"):
        model = build("iha", PRESETS[preset], make_tokenizer(), 0)
    assert 2 * sum(p.numel() for p in model.parameters()) <= 8 * 2**20


def test_rates_rise_hold_and_fall():
    tiny = PRESETS["tiny"]
    rates = [tiny.rate(step) for step in range(tiny.steps)]
    assert rates[0] == 1 / tiny.warmup
    assert rates[-1] == 0.05
    assert max(rates) == 1 == rates[tiny.steps // 2]
    falling = rates[-tiny.steps // 10 :]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] < 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_a_checkpoint_like_any_other(runs, tmp_path, kind):
    assert exporting.main([str(runs / kind), "--out", str(tmp_path), "--hardware", "a desk"]) == 0
    read = checkpoint.read(tmp_path)
    assert read.weights_dtype == "bfloat16"
    assert read.is_iha == (kind == "iha")
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    prompt = tokenizer("The special magic number is 1234", return_tensors="pt")
    assert tokenizer("a 12").input_ids == make_tokenizer()("a 12").input_ids
    trained = build(kind, TEST, make_tokenizer(), 0)
    trained.load_state_dict(weights(runs / kind))
    set_window(trained, TEST.stages[-1].length)
    with torch.no_grad():
        wanted, found = (m.float()(prompt.input_ids).logits for m in (trained, model))
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0.05)
    card = (tmp_path / "README.md").read_text()
    assert "a desk" in card
    assert read.fingerprint in card
    assert not re.search(r"[{}]", card)
    assert f"{TEST.steps} of {TEST.steps}" in card
    assert "| multikey_2 | 128 | 0 |" in card


def test_an_export_has_the_window_that_the_run_has_got_to(runs, tmp_path):
    train(tmp_path / "run", until=2)
    for folder, wanted in ((tmp_path / "run", 32), (runs / "iha", 64)):
        exporting.export(folder, tmp_path / "out", "a desk")
        assert checkpoint.read_config(tmp_path / "out").iha_window == wanted


def test_a_run_leaves_checkpoints_for_a_watch(runs, tmp_path):
    """As the export of that step would be; one that is there is not written again."""
    given = [
        "--model",
        "iha",
        "--out",
        str(tmp_path / "run"),
        "--preset",
        "test",
        "--device",
        "cpu",
    ]
    assert command.main([*given, "--save-every", "2"]) == 0
    left = sorted(tmp_path.glob("run/step-*"))
    assert [folder.name for folder in left] == [f"step-0000000{step}" for step in (2, 4, 6)]
    assert not list(tmp_path.glob("run/.step*"))
    assert weights(tmp_path / "run").keys() == weights(runs / "iha").keys()
    exporting.export(runs / "iha", tmp_path / "out", "a desk")
    prints = [checkpoint.read(folder).fingerprint for folder in left]
    assert prints[-1] == checkpoint.read(tmp_path / "out").fingerprint
    assert len(set(prints)) == 3
    assert [checkpoint.read_config(folder).iha_window for folder in left] == [32, 64, 64]
    assert AutoTokenizer.from_pretrained(left[0])("a 12").input_ids
    (left[0] / "mine").write_text("")
    leave_checkpoint(tmp_path / "run", 2, lambda folder: folder / "nothing")
    assert (left[0] / "mine").exists()


def test_curves_show_every_run(runs, tmp_path, capsys):
    draw_curves({kind: runs / kind for kind in KINDS}, tmp_path / "a.svg")
    assert curve([str(tmp_path / "b.svg"), *(f"{kind}={runs / kind}" for kind in KINDS)]) == 0
    figure = (tmp_path / "a.svg").read_text()
    assert figure == (tmp_path / "b.svg").read_text()
    assert all(f"{kind} multikey_1@256" in figure for kind in KINDS)
    assert curve([str(tmp_path / "c.svg"), f"x={tmp_path}"]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert curve([str(tmp_path / "none" / "d.svg"), f"iha={runs / 'iha'}"]) == 2
    assert "d.svg cannot be written (No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("main", "given", "sentence"),
    [
        (command.main, ["--threads", "0"], "--threads: '0' is not a whole number from 1 up"),
        (command.main, ["--until", "0"], "--until: '0' is not a whole number from 1 up"),
        (command.main, ["--device", "cuda:99"], "--device: 'cuda:99' is no device that torch can"),
        (command.main, ["--device", "desk"], "--device: 'desk' is no device that torch can use"),
        (command.main, ["--device", "meta"], "--device: 'meta' is no device that torch can use"),
        (curve, [], "the following arguments are required: figure, NAME=FOLDER"),
        (curve, ["a.svg"], "the following arguments are required: NAME=FOLDER"),
        (curve, ["a.svg", "runs/iha"], "'runs/iha' is not NAME=FOLDER, such as iha=runs/iha"),
        (curve, ["a.svg", "iha="], "'iha=' is not NAME=FOLDER"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(main, given, sentence, tmp_path, capsys):
    usual = ["--model", "iha", "--out", str(tmp_path / "run"), "--preset", "test"]
    with pytest.raises(SystemExit, match="2"):
        main([*usual, *given] if main is command.main else given)
    error = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in error
    assert sentence in error
    assert not (tmp_path / "run").exists()


def test_the_command_trains_and_goes_on(tmp_path, capsys):
    given = ["--model", "baseline", "--out", str(tmp_path), "--preset", "test", "--device", "cpu"]
    assert command.main([*given, "--until", "1"]) == 0
    assert read_log(tmp_path)[-1]["step"] == 1
    assert command.main([*given, "--until", "2"]) == 0
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2]
    assert command.main([*given, "--seed", "9"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / SETTINGS).unlink(), "holds no run"),
        (lambda folder: (folder / SETTINGS).write_text("{"), "holds no run"),
        (lambda folder: (folder / STATE).unlink(missing_ok=True), "has saved no state yet"),
    ],
    ids=["no settings", "cut settings", "no state"],
)
def test_an_export_of_no_run_says_so(tmp_path, capsys, spoil, sentence):
    TrainingRun(tmp_path, "iha", "test", 0).open()
    spoil(tmp_path)
    assert exporting.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*name another folder"):
        TrainingRun(tmp_path / "file" / "run", "iha", "test", 0).open()


def test_an_unknown_model_is_named():
    with pytest.raises(UserError, match="no model 'gpt': use one of iha, baseline"):
        build("gpt", TEST, make_tokenizer(), 0)
