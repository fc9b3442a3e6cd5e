"""`iha-eval evidence`: table, files, help, mistakes."""

import json
from pathlib import Path

import pytest

from iha_eval.cli import main


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


@pytest.mark.parametrize("claim", ["separation", "cpm3", "composition"])
def test_a_quick_run_prints_a_table_and_writes_both_files(
    claim: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evidence", claim, "--quick", "--seed", "2", "--out", "here"]) == 0
    printed = capsys.readouterr().out
    assert f"written: here/{claim}.json, here/{claim}.svg" in printed.splitlines()
    content = json.loads((place / "here" / f"{claim}.json").read_text())
    assert content["command"] == f"iha-eval evidence {claim} --seed 2 --quick"
    assert content["findings"][0] in printed
    assert (place / "here" / f"{claim}.svg").read_text().startswith("<svg ")


def test_a_reduced_run_and_its_summary_say_their_command(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evidence", "composition", "--quick", "--epochs", "2", "--seeds", "1"]
    assert main(arguments) == 0
    file = place / "evidence" / "composition.json"
    content = json.loads(file.read_text())
    assert content["command"] == (
        "iha-eval evidence composition --seed 0 --seeds 1 --epochs 2 --quick"
    )
    capsys.readouterr()
    assert main([*arguments, "--summary"]) == 0
    assert "is done" not in capsys.readouterr().out
    assert json.loads(file.read_text()) == content


def test_the_folder_has_a_name_of_its_own(place: Path) -> None:
    assert main(["evidence", "separation", "--quick"]) == 0
    assert sorted(path.name for path in (place / "evidence").iterdir()) == [
        *("separation.json", "separation.svg")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: CLAIM"),
        (["cpm4"], "invalid choice: 'cpm4'"),
        (["cpm3", "--seed", "-1"], "'-1' is not a whole number from 0 up"),
        (["cpm3", "--jobs", "2"], "unrecognized arguments: --jobs 2"),
        (["composition", "--jobs", "0"], "'0' is not a whole number from 1 up"),
    ],
    ids=["none", "unknown", "seed", "jobs-elsewhere", "no-jobs"],
)
def test_mistakes_in_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["evidence", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_ends_in_one_line(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "taken").write_text("")
    with pytest.raises(SystemExit) as caught:
        main(["evidence", "cpm3", "--quick", "--out", "taken"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("iha-eval: --out is 'taken', and no folder can be made there")
    assert said.count("\n") == 1
