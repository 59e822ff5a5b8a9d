"""The report as a reader meets it: opened in Chromium, filtered, sorted, hovered over, wide and narrow."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from qttseg.benchmark.gallery import Gallery
from qttseg.benchmark.report.page import report_page
from qttseg.benchmark.store import ResultStore
from qttseg.errors import BenchmarkError
from qttseg.metadata.protocol import Protocol

LABEL = "document.querySelector('.section:not([hidden]) .chart g.mark-rect path').getAttribute('aria-label')"
"""What the first bar says of itself."""

WAIT = 120_000
"""Milliseconds that a busy machine may need."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("there is no Chromium to open the report in; as root: apt-get install chromium")
    with sync_playwright() as playwright:
        # Its sandbox does not start as root in a container; the only page opened is our own.
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"], timeout=WAIT)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(filled: ResultStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with two conditions, written to a file."""
    results = filled.results()
    whole = [replace(result, protocol=Protocol(prompt="whole-image")) for result in results if result.seed == 0]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_page([*results, *whole], gallery=Gallery(uri=filled.uri)), encoding="utf-8")
    return path


@dataclass
class Visit:
    """An opened report, and what it said and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def section(self) -> Locator:
        return self.page.locator(".section:not([hidden])")

    def column(self, title: str, head: str) -> list[str]:
        """Return what a table's column shows from top to bottom, without averages and the paper's rows."""
        table = self.section.locator("section", has=self.page.get_by_role("heading", name=title)).locator("table")
        place = table.locator("thead th").all_inner_texts()
        index = next(i for i, text in enumerate(place) if text.startswith(head))
        return table.locator(f"tbody tr.ours > :nth-child({index + 1})").all_inner_texts()

    def sort(self, title: str, head: str) -> None:
        section = self.section.locator("section", has=self.page.get_by_role("heading", name=title))
        section.get_by_role("button", name=re.compile(f"^{head}")).click()


@pytest.fixture
def visit(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Visit]:
    width = getattr(request, "param", 1400)
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(WAIT)
    opened = Visit(page)
    page.on("console", lambda message: opened.said.append(message.text))
    page.on("pageerror", lambda error: opened.said.append(str(error)))
    page.on("request", lambda asked: opened.asked.append(asked.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    yield opened
    page.close()


@pytest.mark.parametrize("visit", [1400, 400], indirect=True)
def test_the_page_opens_quietly_and_asks_the_network_for_nothing(visit: Visit, file: Path):
    assert [url for url in visit.asked if not url.startswith("data:")] == [file.as_uri()]
    assert visit.said == []
    assert file.stat().st_size < 6e6
    assert visit.section.locator(".chart svg").count() == 3
    width, available = visit.page.evaluate("[document.body.scrollWidth, window.innerWidth]")
    assert width <= available, "nothing sticks out sideways"


@pytest.mark.parametrize("visit", [1400, 400], indirect=True)
def test_a_screenshot_shows_charts_and_masks_in_their_colours(visit: Visit):
    for selector in (".chart >> nth=0", ".chart >> nth=1", ".picture.labelled >> nth=0"):
        shot = visit.section.locator(selector).screenshot()
        pixels = np.asarray(Image.open(BytesIO(shot)).convert("RGB")).astype(int)
        colourful = (pixels.max(axis=-1) - pixels.min(axis=-1)) > 60
        assert colourful.mean() > 0.002, f"{selector} is drawn"


def test_filters_hide_rows_columns_and_pictures_and_average_charts_anew(visit: Visit):
    section = visit.section
    bars = section.locator(".chart >> nth=0").locator("g.mark-rect path")
    assert bars.count() == 5, "zero-shot, and two methods at two budgets"
    before = bars.first.get_attribute("aria-label")
    filters = section.locator(".filters")
    filters.get_by_label("random").uncheck()
    assert section.locator('[data-method="random"]:visible').count() == 0
    assert section.locator('[data-method="qtt-seg"]:visible').count() > 0
    visit.page.wait_for_function(
        "document.querySelectorAll('.section:not([hidden]) .chart g.mark-rect path').length === 3"
    )
    filters.get_by_label("120 s").uncheck()
    assert section.locator('[data-budget="120 s"]:visible').count() == 0
    section.get_by_role("button", name="multiclass", exact=True).click()
    assert section.locator('[data-dataset="widgets"]:visible').count() == 0
    assert section.locator(".count").inner_text() == "4 of 30 results"
    visit.page.wait_for_function(f"label => {LABEL} !== label", arg=before)
    section.get_by_role("button", name="all", exact=True).click()
    filters.get_by_label("random").check()
    filters.get_by_label("120 s").check()
    assert section.locator(".count").inner_text() == "30 of 30 results"


def test_tables_sort_by_a_column_and_the_papers_rows_stay_beside_ours(visit: Visit):
    visit.sort("Summary", "Mean score")
    scores = [float(text) for text in visit.column("Summary", "Mean score")]
    assert scores == sorted(scores, reverse=True)
    visit.sort("Summary", "Mean score")
    assert [float(text) for text in visit.column("Summary", "Mean score")] == sorted(scores)
    assert visit.section.locator('th[aria-sort="ascending"]').count() == 1

    visit.sort("Binary", "Dataset")
    assert visit.column("Binary", "Dataset") == ["widgets", "procedural-polyp"]
    table = visit.section.locator("section", has=visit.page.get_by_role("heading", name="Binary")).locator("table")
    labels = table.locator("tr > th[scope=row]").all_inner_texts()
    assert labels[labels.index("procedural-polyp") + 1] == "paper: polyp"
    assert labels[-1].startswith("Average"), "averages stay below"


def test_pointing_at_a_curve_tells_its_figures(visit: Visit):
    points = visit.section.locator(".chart >> nth=1").locator("g.mark-symbol path")
    points.nth(points.count() // 2).hover(force=True)
    tooltip = visit.page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    text = tooltip.inner_text()
    assert re.search(r"Mean score:?\s*0\.\d{3}", text)
    assert re.search(r"Seconds:?\s*\d+", text)


def test_pictures_show_truth_and_predictions_with_scores_and_descriptions(visit: Visit):
    first = visit.section.locator(".strip >> nth=0")
    captions = first.locator("figcaption").all_inner_texts()
    assert captions[:2] == ["image", "truth"]
    assert any(re.fullmatch(r"60 s QTT-SEG\s+0\.\d\d", caption) for caption in captions)
    masks = first.locator("img")
    assert all(masks.nth(place).evaluate("image => image.naturalWidth") == 120 for place in range(masks.count()))
    assert all(
        text.startswith(("truth", "Zero-shot", "60 s", "120 s"))
        for text in masks.evaluate_all("all => all.map(i => i.alt)")
    )
    picture = first.locator(".labelled >> nth=0")
    assert picture.evaluate("p => getComputedStyle(p).backgroundImage").startswith('url("data:image/jpeg')
    visit.section.get_by_label("masks only").check()
    assert picture.evaluate("p => getComputedStyle(p).backgroundImage") == "none"


def test_conditions_are_told_apart_and_failures_are_rows(visit: Visit):
    assert "boxes from the ground truth" in visit.section.inner_text()
    visit.section.locator("details.jobs summary").click()
    assert "failed: RuntimeError: <out> of memory" in visit.section.locator("details.jobs").inner_text()
    assert "this one left out" in visit.section.inner_text(), "where the predictors come from"
    visit.page.get_by_label("Conditions").select_option(index=1)
    assert "nobody gets a box" in visit.section.inner_text()
    visit.section.locator(".chart svg >> nth=0").wait_for()
    assert visit.said == []


def test_without_results_there_is_no_page(tmp_path: Path):
    with pytest.raises(BenchmarkError, match="run the benchmark"):
        report_page([], gallery=Gallery(uri=str(tmp_path)))
