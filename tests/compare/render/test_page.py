"""The page as a document: complete, closed in itself, accessible, and proof against its texts."""

import base64
import hashlib
import json
import re
import shlex
from itertools import pairwise

import made_up_reports
import pytest
from jinja2 import UndefinedError
from made_up_reports import MAKERS, page_of
from page_outline import Outline

from iha_eval.compare.render import page


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that a test renders need no figures, which take seconds; `page_of` has them."""
    monkeypatch.setattr(page, "draw_all", lambda report: [])


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: page_of(name) for name in MAKERS}


@pytest.fixture(scope="module", params=sorted(MAKERS))
def outline(request: pytest.FixtureRequest, pages: dict[str, str]) -> Outline:
    return Outline(pages[request.param])


def test_parts_stand_in_order(pages: dict[str, str]) -> None:
    assert Outline(pages["full"]).texts("h2") == [
        "▼ Regression, night 2026-02-18",
        "Tonight against earlier nights",
        "Summary",
        "Scores",
        "Figures",
        "Questions the two models score differently",
        "Provenance",
    ]


def test_one_first_heading_and_no_level_skipped(outline: Outline) -> None:
    levels = [int(e.tag[1]) for e in outline.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_identifiers_are_unique_and_every_reference_resolves(outline: Outline) -> None:
    names = outline.values("id")
    assert len(names) == len(set(names))
    wanted = set(outline.values("aria-labelledby"))
    wanted |= {name for value in outline.values("for") for name in value.split()}
    wanted |= {value[1:] for value in outline.values("href") if value.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", outline.html))
    assert wanted - {""} <= set(names)


def test_nothing_is_fetched(outline: Outline) -> None:
    targets = outline.values("href") + outline.values("src")
    assert all(target.startswith(("#", "data:")) for target in targets)
    style = next(outline.all("style")).text
    assert "url(" not in style
    assert "@import" not in style


def test_tables_have_captions_and_scopes(outline: Outline) -> None:
    tables, captions = list(outline.all("table")), list(outline.all("caption"))
    assert len(tables) == len(captions) > 0
    assert all(caption.text.strip() for caption in captions)
    assert all(e.attributes.get("scope") for e in outline.all("th"))


def test_every_drawing_has_a_text_alternative_or_is_decoration(outline: Outline) -> None:
    for drawing in outline.all("svg"):
        if drawing.attributes.get("aria-hidden") != "true":
            assert drawing.attributes["role"] == "img"
            assert len(drawing.attributes["aria-label"] or "") > 40


def test_document_states_language_viewport_and_skip_link(outline: Outline) -> None:
    assert outline.html.startswith("<!DOCTYPE html>")
    assert next(outline.all("html")).attributes["lang"] == "en"
    assert "width=device-width, initial-scale=1" in outline.values("content")
    first = next(outline.all("a"))
    assert first.attributes["href"] == "#main"
    assert next(outline.all("meta")).attributes == {"charset": "utf-8"}


def test_only_our_script_is_there_and_the_policy_names_its_hash(outline: Outline) -> None:
    (script,) = outline.all("script")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    (policy,) = (value for value in outline.values("content") if "default-src" in value)
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not [
        e.tag for e in outline.elements if any(key.startswith("on") for key in e.attributes)
    ]
    assert not [*outline.all("img", "iframe", "object", "embed", "base")]


def test_page_is_valid_utf8_without_control_characters(outline: Outline) -> None:
    assert outline.html.encode("utf-8").decode("utf-8") == outline.html
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", outline.html)


@pytest.mark.parametrize(
    "text",
    [made_up_reports.SCRIPT, made_up_reports.HANDLER, made_up_reports.TEMPLATE],
    ids=["script", "handler", "template"],
)
def test_hostile_text_arrives_as_it_is(pages: dict[str, str], text: str) -> None:
    shown = [e.text for e in Outline(pages["hostile"]).all("pre")]
    # Gold, both outputs, prompt.
    assert shown.count(text) == 4


def test_controls_are_shown_and_broken_characters_replaced(pages: dict[str, str]) -> None:
    shown = [e.text for e in Outline(pages["hostile"]).all("pre")]
    assert any("bell \u2407, null \u2400, escape \u241b[31m" in text for text in shown)
    assert any("lone surrogates \ufffd and \ufffd\ufffd" in text for text in shown)
    assert any("<U+202E>gnp.exe" in text for text in shown)


def test_endless_text_is_cut_and_says_so(pages: dict[str, str]) -> None:
    assert pages["hostile"].count("x" * 6001) == 0
    assert "14,000 characters left out" in pages["hostile"]


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_numbers_that_do_not_exist_are_dashes(pages: dict[str, str], name: str) -> None:
    words = re.findall(r"\b(None|nan|NaN|inf|Undefined)\b", re.sub(r"<script>.*", "", pages[name]))
    assert not [word for word in words if word != "None"]
    assert ">None<" not in pages[name]
    cells = Outline(pages["bare"]).texts("td")
    assert cells.count("\N{EN DASH}") > 10


def test_summary_pairs_each_sentence_with_its_word(pages: dict[str, str]) -> None:
    items = [e.text for e in Outline(pages["full"]).all("li") if "badge" in e.text or "p" in e.text]
    summary = [" ".join(text.split()) for text in items if "against" in text]
    assert [text.split(" ", 1)[0] for text in summary] == ["▲", "▼", "?", "="]
    assert summary[0].startswith("▲ better RULER multi-key retrieval: IHA (iha-1b5) is better than")
    assert summary[3].startswith("= no significant difference arc_easy: no significant difference")


def test_sentence_that_names_its_benchmark_says_it_once() -> None:
    report = made_up_reports.bare()
    report["headlines"][0] |= {"label": "GSM8K", "sentence": "GSM8K (Maj@4): no difference."}
    text = Outline(page.render(report)).texts("li")
    assert "? not enough data GSM8K (Maj@4): no difference." in text


def test_row_holds_all_its_numbers(pages: dict[str, str]) -> None:
    report = made_up_reports.full()
    row = made_up_reports.row(report, "all variants, 4k")
    found = Outline(pages["full"])
    labels = [" ".join(e.text.split()) for e in found.elements if e.tag in ("th", "td")]
    start = labels.index(row["label"])
    assert labels[start + 1 : start + 14] == [
        "91.7 81.9\N{EN DASH}96.4",
        "71.7 59.2\N{EN DASH}81.5",
        "+20.0",
        "+11.8 to +31.8",
        "+28%+10% to +50%",
        "▲ better",
        "0.00024",
        "0.00024",
        "60",
        "12",
        "0",
        "18.3",
        "+27%",
    ]


def test_row_that_decides_stands_out_and_left_out_documents_are_counted() -> None:
    report = made_up_reports.bare()
    report["tables"][0]["rows"][0]["decides"] = True
    found = Outline(page.render(report))
    assert "decides" in found.values("class")
    assert "0 / 0 24 left out" in found.texts("td")


def test_unpaired_is_said_everywhere_and_shows_both_counts() -> None:
    report = made_up_reports.bare()
    report["tables"][0]["rows"][0] |= {"n": 7, "n_baseline": 9, "left_out": 0}
    found = Outline(page.render(report))
    text = " ".join(next(found.all("body")).text.split())
    assert "Unpaired comparison. The questions of the two runs are not matched" in text
    assert "An unpaired comparison has no per-question diff." in text
    label = report["tables"][0]["label"]
    assert f"{label}: IHA against Baseline (unpaired)" in found.texts("caption")
    assert "7 / 9" in found.texts("td")


def test_rows_that_are_not_paired_are_marked_among_those_that_are() -> None:
    report = made_up_reports.full()
    report["paired"] = False
    for table in report["tables"]:
        for row in table["rows"]:
            row |= {"paired": True, "n_baseline": row["n"]}
    unpaired = made_up_reports.row(report, "P@1")
    unpaired |= {"paired": False, "n_baseline": 1400, "higher": None}
    report["provenance"]["pairing"]["unpaired_tasks"] = ["gsm8k_maj"]
    found = Outline(page.render(report))
    text = " ".join(next(found.all("body")).text.split())
    assert "Partly unpaired comparison. In rows marked “unpaired”" in text
    assert "Partly unpaired 2026" in text
    headings = [" ".join(e.text.split()) for e in found.all("th")]
    assert [one for one in headings if one.endswith(" unpaired")] == ["P@1 unpaired"]
    assert "120 / 1,400" in found.texts("td")
    assert found.texts("caption").count("GSM8K: gsm8k_maj: IHA against Baseline") == 1
    # Those that are paired have their questions.
    shown = report["disagreements"]["shown"] + report["both_wrong"]["shown"]
    assert found.values("class").count("question") == shown
    assert "gsm8k_maj" in found.texts("dd")


def test_facts_that_are_zero_and_lists_that_are_empty_differ() -> None:
    report = made_up_reports.with_questions(0)
    report["provenance"] |= {"pairing": {"unpaired_tasks": []}, "statistics": {"seed": 0}}
    assert Outline(page.render(report)).texts("dd") == ["none", "0"]


@pytest.mark.parametrize("matching", ["all", "some"])
def test_no_question_differs_among_those_that_are_paired(matching: str) -> None:
    report = made_up_reports.with_questions(0)
    report["paired"] = matching == "all"
    report["disagreements"]["total"] = 0
    report["tables"][0]["rows"][0]["paired"] = True
    ending = "." if matching == "all" else " that is paired."
    assert f"the same on every question{ending}" in page.render(report)


def test_paired_page_does_not_say_unpaired(pages: dict[str, str]) -> None:
    body = Outline(pages["full"]).texts("body")[0]
    assert "Provenance Commands" in body
    assert "npaired" not in body.partition("Provenance Commands")[0]


@pytest.mark.parametrize(
    ("known", "said"), [(False, True), (True, False), (None, False)], ids=["not", "iha", "unknown"]
)
def test_first_run_that_is_no_iha_checkpoint_is_said(known: bool | None, said: bool) -> None:
    report = made_up_reports.bare() | {"paired": True}
    report["models"]["iha"]["is_iha"] = known
    html = page.render(report)
    assert ("whose checkpoint is not an IHA checkpoint" in html) is said
    assert ('<aside class="warnings"' in html) is said


@pytest.mark.parametrize(
    ("total", "said"),
    [(0, "both models score the same on every question"), (5, "5 in all; none is shown.")],
    ids=["none", "none-shown"],
)
def test_no_question_to_show(total: int, said: str) -> None:
    report = made_up_reports.bare() | {"paired": True}
    report["disagreements"]["total"] = total
    assert said in page.render(report)


@pytest.mark.parametrize("paired", [True, False, None])
def test_page_without_a_comparison_claims_nothing(paired: bool | None) -> None:
    nothing = {"paired": paired, "headlines": [], "tables": []}
    text = Outline(page.render(made_up_reports.bare() | nothing)).texts("main")[0]
    assert "The two runs share no benchmark that could be compared." in text
    assert "No task was scored in both runs." in text
    assert "No question was compared." in text
    assert "score the same" not in text
    body = Outline(page.render(made_up_reports.bare() | nothing)).texts("body")[0]
    assert "Nothing compared" in body
    # The facts of the pairing name what there is none of.
    assert not re.search("by question|npaired", body.partition("Provenance Commands")[0])


def test_questions_state_total_and_shown_and_who_is_ahead(pages: dict[str, str]) -> None:
    text = " ".join(next(Outline(pages["full"]).all("body")).text.split())
    report = made_up_reports.full()
    rows = report["disagreements"]["rows"]
    assert f"{len(rows)} in all; {len(rows)} shown here." in text
    wrong = report["both_wrong"]
    assert f"Of {wrong['total']} that both models got wrong, {wrong['shown']} are shown" in text
    ahead = sum(row["direction"] == "iha" for row in rows)
    assert f"IHA ahead ({ahead})" in text
    assert f"Baseline ahead ({len(rows) - ahead})" in text
    assert f"both wrong ({wrong['shown']})" in text


def test_questions_that_are_not_all_shown_are_said_to_be_elsewhere() -> None:
    report = made_up_reports.with_questions(3)
    report["disagreements"]["total"] = 9
    text = " ".join(next(Outline(page.render(report)).all("body")).text.split())
    assert "9 in all; 3 shown here, the rest is in the sample files" in text


def test_every_question_has_a_link_of_its_own(pages: dict[str, str]) -> None:
    found = Outline(pages["full"])
    questions = [
        e.attributes["id"] for e in found.all("details") if e.attributes["class"] == "question"
    ]
    links = [e.attributes["href"] for e in found.all("a")]
    assert len(questions) > 100
    row = made_up_reports.full()["disagreements"]["rows"][-1]
    assert f"{row['task']}-{row['doc_id']}" in questions
    assert {f"#{name}" for name in questions} <= set(links)


def test_gold_answers_and_differing_words_are_marked(pages: dict[str, str]) -> None:
    found = Outline(pages["full"])
    marked = {e.text for e in found.all("mark")}
    assert "1234501" in marked
    assert next(found.all("u")).parents[-3:] == ("dl", "dd", "pre") or len(list(found.all("u"))) > 1


def test_a_night_shows_what_it_was_held_against(pages: dict[str, str]) -> None:
    cells = [" ".join(e.text.split()) for e in Outline(pages["full"]).all("th", "td")]
    start = cells.index("2026-02-11")
    assert cells[start - 2 : start + 4] == [
        *("gsm8k_maj", "p@1", "2026-02-11", "\N{MINUS SIGN}9.0", "120", "▼ regression")
    ]
    assert cells[start + 6 : start + 10] == ["baseline", "+16.0", "120", "no drop"]
    report = made_up_reports.full()
    del report["night"]["checks"]
    assert "against earlier nights" not in page.render(report)


def test_a_regression_stands_first_and_is_no_warning(pages: dict[str, str]) -> None:
    report = made_up_reports.full()
    report["warnings"].insert(0, report["night"]["regressions"][0])
    for html in (pages["full"], page.render(report)):
        assert html.count("GSM8K P@1, IHA: 61.0 to 52.0") == 1
        assert html.index('class="regression"') < html.index('class="headlines"')
        assert html.index('class="headlines"') < html.index('class="warnings"')


def test_provenance_has_commands_versions_and_shares(pages: dict[str, str]) -> None:
    found = Outline(pages["full"])
    commands = [e.text for e in found.all("pre") if e.attributes.get("class") == "command"]
    assert commands[0] == "lm_eval --model iha-vllm --output_path 'a b'"
    cells = [" ".join(e.text.split()) for e in found.all("th", "td")]
    for label, values in {
        "Generations cut by the limit, %": ["10.0", "10.0"],
        "KV cache, size": ["3.9 KiB", "3.9 KiB"],
        "Version of vllm": ["0.32.0", "0.31.0"],
    }.items():
        place = cells.index(label)
        assert cells[place + 1 : place + 3] == values
    assert found.values("class").count("differs") == 1
    assert "haystack: needles" in cells


def test_report_tells_its_own_command_and_options() -> None:
    report = made_up_reports.bare()
    report["provenance"]["compare"] = {
        "command": ["iha-eval", "compare", "a b", made_up_reports.SCRIPT],
        "options": {"correction": "holm", "unpaired": False, "title": None, "margin": 5.0},
    }
    found = Outline(page.render(report))
    commands = [e.text for e in found.all("pre") if e.attributes.get("class") == "command"]
    assert commands == [shlex.join(["iha-eval", "compare", "a b", made_up_reports.SCRIPT])]
    assert "Options: correction holm, unpaired no, margin 5.0." in found.texts("p")


def test_options_stand_alone_where_no_command_was_given() -> None:
    report = made_up_reports.bare()
    report["provenance"]["compare"] = {"command": [], "options": {"correction": "fdr"}}
    found = Outline(page.render(report))
    assert "Options: correction fdr." in found.texts("p")
    assert "This report" in found.texts("p")


def test_what_a_run_did_not_record_is_said() -> None:
    report = made_up_reports.bare()
    report["models"]["baseline"]["model_sha"] = "c" * 40
    found = Outline(page.render(report))
    cells = found.texts("td")
    assert cells.count("not recorded") > 7
    assert "c" * 40 in cells
    assert "Commit on the hub" in found.texts("th")
    assert "Commit on the hub" not in Outline(page_of("full")).texts("th")


def test_family_of_corrected_values_is_stated(pages: dict[str, str]) -> None:
    text = " ".join(Outline(pages["full"]).texts("p"))
    assert "the deciding rows, shaded, are one family across all tables" in text


def test_same_report_same_bytes() -> None:
    # Those of the figures have a test of their own.
    again = json.loads(json.dumps(made_up_reports.full()))
    assert page.render(again) == page.render(made_up_reports.full())


def test_thousand_disagreements_stay_under_ten_megabytes() -> None:
    html = page.render(made_up_reports.with_questions(1000))
    assert html.count('<details class="question"') == 1000
    assert len(html.encode()) < 10_000_000


def test_report_that_lacks_a_part_is_a_mistake_of_ours() -> None:
    report = made_up_reports.bare()
    del report["tables"][0]["rows"][0]["p_corrected"]
    with pytest.raises(UndefinedError, match="p_corrected"):
        page.render(report)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None], "b": True}, "a: 1, None, b: yes"),
        ([], ""),
        (False, "no"),
        (None, None),
        (0.05, 0.05),
    ],
    ids=["nested", "empty", "bool", "none", "number"],
)
def test_listed(value: object, text: object) -> None:
    assert page.listed(value) == text
