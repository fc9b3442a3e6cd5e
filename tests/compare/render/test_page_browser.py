"""The page in a real browser: Debian's Chromium, headless, at desktop and phone width."""

from pathlib import Path

import made_up_reports
import pytest
from playwright.sync_api import Browser, Page

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
QUESTION = "details.question"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for name in ("full", "hostile"):
        made[name] = folder / f"{name}.html"
        made[name].write_text(made_up_reports.page_of(name), encoding="utf-8")
    return made


class Opened:
    """A page in its own context, with everything that it reports and asks for.

    Args:
        browser: Where to open it.
        file: What to open.
        size: Name of a window size.
        scheme: `light` or `dark`.
        script: Whether JavaScript is on.
    """

    def __init__(
        self, browser: Browser, file: Path, size: str, scheme: str = "light", script: bool = True
    ) -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=script,
        )
        self.page: Page = self.context.new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def shown(self) -> int:
        """How many questions are visible."""
        return self.page.locator(f"{QUESTION}:visible").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", sorted(SIZES))
@pytest.mark.parametrize("name", ["full", "hostile"])
def test_page_is_quiet_and_fits(
    browser: Browser, files: dict[str, Path], name: str, size: str, scheme: str
) -> None:
    with Opened(browser, files[name], size, scheme) as opened:
        page = opened.page
        # With every question and prompt open, too.
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        assert opened.messages == []
        assert [url for url in opened.requests if not url.startswith("data:")] == [
            files[name].as_uri()
        ]
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 26)")


def test_hostile_outputs_do_not_run(browser: Browser, files: dict[str, Path]) -> None:
    with Opened(browser, files["hostile"], "desktop") as opened:
        assert opened.page.evaluate("typeof window.hacked") == "undefined"
        assert opened.page.title().startswith("</pre></details><script>window.hacked")
        assert opened.page.locator("script").count() == 1
        assert opened.page.locator("img").count() == 0


def test_policy_stops_a_script_that_slipped_through(
    browser: Browser, files: dict[str, Path], tmp_path: Path
) -> None:
    slipped = tmp_path / "slipped.html"
    html = files["full"].read_text(encoding="utf-8")
    harm = "<script>window.hacked = true</script><img src=x onerror='window.hacked = true'>"
    slipped.write_text(html.replace("</main>", f"{harm}</main>"), encoding="utf-8")
    with Opened(browser, slipped, "desktop") as opened:
        assert opened.page.evaluate("typeof window.hacked") == "undefined"
        assert any("Content Security Policy" in message for message in opened.messages)
        # Our own still runs.
        assert opened.page.locator("#filters").is_visible()


@pytest.mark.parametrize("size", sorted(SIZES))
def test_filters_hide_rows_and_count(browser: Browser, files: dict[str, Path], size: str) -> None:
    report = made_up_reports.full()
    rows = report["disagreements"]["rows"] + report["both_wrong"]["rows"]
    every = len(rows)
    task = rows[0]["task"]
    here = [row for row in rows if row["task"] == task]
    ahead = [row for row in here if row["direction"] == "iha"]
    with Opened(browser, files["full"], size) as opened:
        page, count = opened.page, opened.page.locator("#filter-count")
        assert (opened.shown(), count.inner_text()) == (every, f"{every} of {every} shown")
        assert not page.locator("#no-filters").is_visible()
        page.select_option("#filter-task", label=f"{task} ({len(here)})")
        assert (opened.shown(), count.inner_text()) == (len(here), f"{len(here)} of {every} shown")
        assert page.locator("section.task:visible").count() == 1
        page.select_option("#filter-direction", "iha")
        assert 0 < len(ahead) < len(here)
        assert (opened.shown(), count.inner_text()) == (
            len(ahead),
            f"{len(ahead)} of {every} shown",
        )
        page.select_option("#filter-task", "")
        total = sum(row["direction"] == "iha" for row in rows)
        assert (opened.shown(), count.inner_text()) == (total, f"{total} of {every} shown")
        page.select_option("#filter-direction", "neither")
        assert opened.shown() == report["both_wrong"]["shown"]
        page.select_option("#filter-direction", "")
        assert opened.shown() == every
        # Enter in the form must not reload the page away from its place.
        page.locator("#filter-task").press("Enter")
        assert opened.messages == []


def test_question_opens_by_keyboard_and_prompt_stays_folded(
    browser: Browser, files: dict[str, Path]
) -> None:
    with Opened(browser, files["full"], "phone") as opened:
        question = opened.page.locator(QUESTION).first
        assert not question.locator("pre").first.is_visible()
        question.locator("summary").first.press("Enter")
        # Gold and both outputs; not the prompt.
        assert question.locator("pre:visible").count() == 3
        question.locator(".prompt summary").press("Enter")
        assert question.locator("pre:visible").count() == 4


def test_outputs_stand_side_by_side_where_there_is_room(
    browser: Browser, files: dict[str, Path]
) -> None:
    for size, beside in (("desktop", True), ("phone", False)):
        with Opened(browser, files["full"], size) as opened:
            question = opened.page.locator(QUESTION).first
            question.locator("summary").first.click()
            first, second = (
                question.locator(".answers dl").nth(number).bounding_box() for number in (1, 2)
            )
            assert (first["y"] == second["y"]) is beside


def test_wide_tables_scroll_by_keyboard_and_show_that_there_is_more(
    browser: Browser, files: dict[str, Path]
) -> None:
    with Opened(browser, files["full"], "phone") as opened:
        region = opened.page.locator(".scroll[tabindex]").first
        assert region.evaluate("one => one.scrollWidth - one.clientWidth") > 100
        assert "gradient" in region.evaluate("one => getComputedStyle(one).backgroundImage")
        name = opened.page.locator("table.scores tbody th").first
        before = name.bounding_box()
        region.focus()
        opened.page.keyboard.press("ArrowRight")
        for _ in range(200):
            # Scrolling is smooth; the page's policy forbids Playwright's own way to wait.
            if region.evaluate("one => one.scrollLeft") > 10:
                break
            opened.page.wait_for_timeout(50)
        assert region.evaluate("one => one.scrollLeft") > 10
        # The name of a row stays where it is.
        assert name.bounding_box()["x"] == before["x"]


def test_page_is_whole_without_javascript(browser: Browser, files: dict[str, Path]) -> None:
    with Opened(browser, files["full"], "phone", script=False) as opened:
        page = opened.page
        assert opened.shown() == page.locator(QUESTION).count()
        assert not page.locator("#filters").is_visible()
        assert page.locator("#no-filters").is_visible()
        page.locator(f"{QUESTION} summary").first.click()
        assert page.locator(QUESTION).first.locator("pre:visible").count() == 3
        assert page.locator("figure svg[role=img]:visible").count() > 20


def test_skip_link_is_the_first_stop_and_is_seen(browser: Browser, files: dict[str, Path]) -> None:
    with Opened(browser, files["full"], "desktop") as opened:
        opened.page.keyboard.press("Tab")
        box = opened.page.locator(".skip").bounding_box()
        assert opened.page.evaluate("document.activeElement.className") == "skip"
        assert box["x"] >= 0
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert opened.page.evaluate(outline) == "solid"


def focus(opened: Opened) -> dict[str, object]:
    """The question that has the focus, and how far its summary is from the bar above it."""
    found: dict[str, object] = opened.page.evaluate(
        """() => {
          const summary = document.activeElement;
          const bar = document.getElementById("filters").getBoundingClientRect();
          const box = summary.getBoundingClientRect();
          const stuck = getComputedStyle(document.getElementById("filters")).position === "sticky";
          return {
            id: summary.parentElement.id,
            open: summary.parentElement.open,
            below: stuck ? box.top - bar.bottom : box.top,
            inside: box.bottom <= innerHeight,
          };
        }"""
    )
    return found


@pytest.mark.parametrize("size", sorted(SIZES))
def test_keys_go_from_question_to_question_and_the_address_follows(
    browser: Browser, files: dict[str, Path], size: str
) -> None:
    with Opened(browser, files["full"], size) as opened:
        page = opened.page
        names = page.locator(QUESTION).evaluate_all("all => all.map((one) => one.id)")
        page.locator("#next").click()
        for place in (0, 1, 2):
            found = focus(opened)
            assert (found["id"], found["open"]) == (names[place], True)
            assert found["below"] >= -0.5
            assert found["inside"]
            assert page.locator(f"{QUESTION}[open]").count() == 1
            assert page.evaluate("location.hash") == f"#questions?open={names[place]}"
            page.keyboard.press("n")
        page.keyboard.press("p")
        assert focus(opened)["id"] == names[2]
        # Nowhere to go before the first one, and letters in the search are letters.
        page.locator("#filter-text").press("n")
        assert page.locator("#filter-text").input_value() == "n"
        assert opened.messages == []


def test_focus_is_never_under_the_bar(browser: Browser, files: dict[str, Path]) -> None:
    with Opened(browser, files["full"], "desktop") as opened:
        page = opened.page
        # From the end backwards, so that each new focus comes in at the top.
        page.locator(f"{QUESTION} > summary").last.focus()
        for _ in range(40):
            page.keyboard.press("Shift+Tab")
            assert focus(opened)["below"] >= -0.5


def test_search_and_filters_stand_in_the_address(browser: Browser, files: dict[str, Path]) -> None:
    with Opened(browser, files["full"], "desktop") as opened:
        page = opened.page
        page.fill("#filter-text", "Document 7")
        page.wait_for_timeout(300)
        shown = opened.shown()
        assert 0 < shown < page.locator(QUESTION).count()
        page.select_option("#filter-direction", "iha")
        page.select_option("#filter-sort", "gap")
        address = page.evaluate("location.href")
        assert address.endswith("#questions?text=Document+7&show=iha&sort=gap")
        left = opened.shown()
        assert left < shown
        page.goto("about:blank")
        page.goto(address)
        assert page.locator("#filter-text").input_value() == "Document 7"
        assert page.locator("#filter-direction").input_value() == "iha"
        assert opened.shown() == left
        assert opened.messages == []


def test_sorting_by_difference_puts_the_largest_first(
    browser: Browser, files: dict[str, Path]
) -> None:
    gaps = "all => all.map((one) => Math.abs(Number(one.dataset.gap)))"
    with Opened(browser, files["full"], "desktop") as opened:
        page = opened.page
        rows = page.locator("section.task").filter(has_text="gsm8k_maj").locator(QUESTION)
        before = rows.evaluate_all(gaps)
        page.select_option("#filter-sort", "gap")
        after = rows.evaluate_all(gaps)
        assert after == sorted(before, reverse=True)
        page.select_option("#filter-sort", "")
        assert rows.evaluate_all(gaps) == before


@pytest.mark.parametrize("script", [True, False])
def test_link_to_a_question_opens_it(
    browser: Browser, files: dict[str, Path], script: bool
) -> None:
    row = made_up_reports.full()["disagreements"]["rows"][-1]
    name = f"{row['task']}-{row['doc_id']}"
    with Opened(browser, files["full"], "desktop", script=script) as opened:
        page = opened.page
        page.goto(f"{files['full'].as_uri()}#{name}")
        question = page.locator(f"[id='{name}']")
        box = question.bounding_box()
        assert box is not None
        assert -0.5 <= box["y"] < SIZES["desktop"][1]
        if script:
            assert question.get_attribute("open") is not None
            assert focus(opened)["below"] >= -0.5
