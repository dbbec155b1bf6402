"""The page in a browser: what a visitor does, and what comes of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from bokeh.document import Document
from explorer import copied, drawn, frame, handle, started
from shell import run

from spectral_icl.explore import page as page_module
from spectral_icl.explore.choices import Choices
from spectral_icl.multitask.experiment import BUILT_IN

Visit = Callable[..., Any]


def loss(page: Any) -> str:
    """The final loss that the report on the page names."""
    found = re.search(r"\n  final +(\S+)", page.locator("#text").inner_text())
    assert found is not None
    return found[1]


def test_nothing_is_asked_of_any_other_machine(browser: Any, url: str) -> None:
    page = browser.new_page()
    hosts = set()
    faults = []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).hostname))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.goto(url)
    drawn(page, 0)
    page.close()
    assert (hosts, faults) == ({"127.0.0.1"}, [])


def test_a_slider_moves_the_plot(visit: Visit) -> None:
    page = visit()
    canvas = page.locator("canvas").first
    before, was, number = loss(page), canvas.screenshot(), frame(page)
    handle(page, "noise variance").press("ArrowRight")
    drawn(page, number)
    assert loss(page) != before
    assert canvas.screenshot() != was


def test_what_is_copied_gives_the_numbers_on_the_page(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    for label in ("heads H", "tasks I", "size of task 1"):
        number = frame(page)
        handle(page, label).press("ArrowRight")
        drawn(page, number)
    page.wait_for_timeout(300)  # until nothing more is on its way
    file = tmp_path / "copied.toml"
    file.write_text(copied(page, "Copy TOML"), "utf-8")
    status, out, err = run("flow", str(file), "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (len(found["omega"]), len(found["problem"]["block_sizes"])) == (3, 3)
    assert f"{found['loss']:.6f}" == loss(page)
    code = copied(page, "Copy Python")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert float(done.stdout.split()[0]) == found["loss"]


def test_extreme_values_give_a_line_and_the_plot_stays(visit: Visit) -> None:
    page = visit()
    before, number = loss(page), frame(page)
    page.locator(".bk-input-group", has_text="law of the context").locator("select").select_option(
        "first-order"
    )
    drawn(page, number)
    handle(page, "context length L").press("Home")
    shown, number = loss(page), frame(page)
    assert shown != before
    handle(page, "qk").press("End")  # logits far beyond the range of this law
    error = page.locator(".error")
    error.wait_for()
    assert "below is the last flow that could be solved" in error.inner_text()
    assert "Traceback" not in error.inner_text()
    handle(page, "qk").press("PageDown")
    assert "\n" not in error.inner_text()


def test_a_file_that_is_none_is_a_line(visit: Visit) -> None:
    """Fewer heads than tasks cannot lead them: a choice that no flow can be made of."""
    page = visit()
    number = frame(page)
    page.locator(".bk-input-group", has_text="start").locator("select").select_option("dominant")
    drawn(page, number)
    handle(page, "heads H").press("Home")
    error = page.locator(".error")
    error.wait_for()
    assert error.inner_text().startswith("⚠ initial.heads") or "heads" in error.inner_text()
    assert copied(page, "Copy TOML").count("heads = 2") == 1  # of what is shown


def test_the_cursor_moves_the_heat_map_without_a_flow(visit: Visit) -> None:
    page = visit()
    number, maps = frame(page), page.locator("canvas").nth(2)
    was = maps.screenshot()
    handle(page, "cursor").press("Home")
    page.wait_for_timeout(300)
    assert maps.screenshot() != was
    assert frame(page) == number


def test_a_hand_that_moves_leaves_no_line_of_work(visit: Visit) -> None:
    """Values that come faster than they can be drawn are passed over, and the last is shown."""
    page = visit()
    number = frame(page)
    noise = handle(page, "noise variance")
    for _ in range(15):
        noise.press("ArrowLeft", no_wait_after=True)
    for _ in range(15):
        noise.press("ArrowRight", no_wait_after=True)
    noise.press("ArrowRight")
    page.wait_for_timeout(1000)
    assert frame(page) - number < 30
    assert "noise = 0.1\n" in copied(page, "Copy TOML")


def test_it_fits_on_narrow_screens(visit: Visit) -> None:
    for width in (1280, 800):
        page = visit(width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for canvas in page.locator("canvas:visible").all():
            box = canvas.bounding_box()
            assert box["x"] + box["width"] <= width


def test_a_flow_that_cannot_be_solved_at_first_leaves_the_page(browser: Any) -> None:
    process, url = started("--set", "flow.max_steps=3")
    try:
        page = browser.new_page()
        page.goto(url)
        error = page.locator("#status.error")
        error.wait_for()
        assert "stopped at t =" in error.inner_text()
        page.locator(".bk-input-group", has_text="parametrization").locator("select").wait_for()
        page.close()
    finally:
        process.kill()
        process.communicate()


def test_a_mistake_of_ours_is_a_line_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(page_module, "solved", broken)
    page = page_module.Page(Document(), Choices.of(BUILT_IN), "here")
    for _ in range(200):
        page.catch_up()
        if page.status_source.data["kind"] == ["error"]:
            break
        time.sleep(0.02)
    assert page.status_source.data["text"] == ["ZeroDivisionError: of ours"]
    assert "could not solve" in caplog.text
    page.latest.close()
