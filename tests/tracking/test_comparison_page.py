"""MLflow's pages in a real browser: what a user sees when comparing the trials of a sweep."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from subband.tracking import SweepLog, resolve_tracking
from subband.trials import append_record
from tests.tracking import sweeps
from tests.tracking.conftest import Server
from tests.waiting import PATIENCE

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=2200,1300"
)
SECONDS = PATIENCE

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None,
    reason="needs chromium and chromedriver: apt-get install chromium chromium-driver",
)


class Page:
    """One browser window."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get("about:blank")  # two addresses that differ after # alone would not load anew
        self.driver.get(address)

    @property
    def text(self) -> str:
        return self.driver.find_element("tag name", "body").text

    def wait_for(self, *texts: str) -> str:
        """The page's text, once it holds all of these."""
        from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(self.driver, SECONDS, ignored_exceptions=[StaleElementReferenceException])
        try:
            wait.until(lambda _: all(text in self.text for text in texts))
        except TimeoutException:
            missing = [text for text in texts if text not in self.text]
            pytest.fail(f"after {SECONDS} s the page lacks {missing}; it says:\n{self.text}")
        return self.text

    def wait_until(self, script: str, complaint: str) -> None:
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        try:
            WebDriverWait(self.driver, SECONDS).until(lambda driver: driver.execute_script(script))
        except TimeoutException:
            pytest.fail(f"after {SECONDS} s {complaint}; the page says:\n{self.text}")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield Page(driver)
    driver.quit()


def test_the_pages_show_the_trials_of_a_sweep(tmp_path: Path, server: Server, page: Page):
    server.start()
    target = resolve_tracking(None, tmp_path / "runs")  # the sweep writes to the file that the page reads
    folder = tmp_path / "sweep"
    records = sweeps.trials(12)
    with SweepLog(folder, sweeps.info(), target) as log:
        for record in records:
            append_record(folder, record)
            log.log_trial(record)
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 1])
        log.log_figure("roc", figure)
        log.log_table("ranking", [{"trial": record.number, **record.choose} for record in records])
        assert log.flush()
        ranking_page, comparison_page = log.sweep_url(server.url), log.comparison_url(8, server.url)
        figure_page = f"{ranking_page.split('/runs')[0]}/runs/{log.run_id}/artifacts/figures/roc.png"
    ranked = sorted(records, key=lambda record: -record.choose["image_auroc"])
    names = [f"{record.number:03d} {record.params['wavelet']}" for record in ranked]

    page.open(server.url)
    page.wait_for("Experiments")
    page.driver.execute_script("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")  # it hides columns

    # The table of runs: parent and children, best first, with the objective and the searched params as columns.
    page.open(ranking_page)
    text = page.wait_for("13 matching runs", *(name for name in names), "wepadim on synth")
    for column in ("image_auroc", "pixel_auroc", *sweeps.SEARCHED):
        assert column in text, column
    best = f"{ranked[0].choose['image_auroc']:.5f}"[:-1]
    assert best in text
    assert [text.index(name) for name in names] == sorted(text.index(name) for name in names)
    page.driver.save_screenshot(str(tmp_path / "runs.png"))

    # Eight trials side by side: parallel coordinates first, then names, params and metrics in columns.
    page.open(comparison_page)
    text = page.wait_for("Comparing 8 Runs from 1 Experiment", "Parallel Coordinates Plot", *names[:8], "pixel_auroc")
    assert not any(name in text for name in names[8:])
    for param in ("wavelet", "LL+LH+HL", "sym4", "backbone", "resnet18"):
        assert param in text, param
    table = text.split("Metrics\nShow diff only\n")[1].split()
    headlines = sorted(sweeps.METRICS)[:7]  # the rows that are drawn before one scrolls
    assert table[:7] == headlines
    for row, metric in enumerate(headlines, start=1):
        assert table[7 + 8 * (row - 1) : 7 + 8 * row] == [f"{round(record.choose[metric], 3)}" for record in ranked[:8]]
    plot = page.driver.find_element("css selector", ".js-plotly-plot").text
    assert "image_auroc" in plot
    assert {"level", "sigma", "subbands"} <= set(plot.split())
    page.driver.save_screenshot(str(tmp_path / "compare.png"))

    # A figure of the parent: the page draws the file that the sweep stored.
    page.open(figure_page)
    page.wait_for("figures", "report")
    page.wait_until("return [...document.images].some(image => image.naturalWidth > 300)", "the figure is not drawn")
    page.driver.save_screenshot(str(tmp_path / "figure.png"))
