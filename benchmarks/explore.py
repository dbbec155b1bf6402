"""How long the explorer takes from a slider that moves to pictures that are drawn, in a headless browser.

    python -m benchmarks.explore [--moves N] [--quick] [--picture FILE] [--out DIR]

Needs playwright (`pip install playwright`) and a chromium (`apt-get install chromium`). Four heads and three
tasks; noise, context length and the size of a task go up and down. Milliseconds are of the browser's clock,
from the key that moves the slider to the animation frame after the one in which the trajectory, phases, heat
maps and benchmarks of the new flow were drawn: the way to the server, the flow, the way back and the drawing.
The report in words follows, and has its own line. After the last move of every slider the pixels are held
against those half a second later, so that what is timed is the whole of it. The first moves of a page, for
which the browser compiles, are told apart. `--picture` keeps what is on the page at the end, as in
docs/explore.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import record

_PROBLEM = ("task_sizes=[10, 20, 40]", "signal=[10.0, 12.0, 15.0]", "noise=0.1", "context_length=100")
_SETTINGS = (*(f"problem.{entry}" for entry in _PROBLEM), "model.heads=4", "flow.t_end=1000")
_SLIDERS = ("noise variance", "context length L", "size of task 1")
_FIRST = 3  # moves of a page that are told apart
_WATCH = """() => {
    window.moves = []
    document.addEventListener("keydown", () => { window.moved = performance.now() }, true)
    const page = document.documentElement.dataset
    const kind = () => page.complete === "true" ? 2 : Number(page.bounds) > 0 ? 1 : 0
    new MutationObserver(() => { window.moves.push([kind(), performance.now() - window.moved]) })
        .observe(document.documentElement, {attributeFilter: ["data-frame"]})
}"""
_PIXELS = """() => {
    const found = []
    const walk = (node) => {
        if (node.tagName === "CANVAS") { found.push(node.toDataURL()) }
        for (const child of [...(node.shadowRoot?.children ?? []), ...node.children]) { walk(child) }
    }
    walk(document.body)
    return found.join()
}"""


def chromium() -> str:
    """The browser of this machine."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    sys.exit("benchmarks.explore needs a chromium (apt-get install chromium)")


def measured(page: Any, moves: int) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds to the pictures of every move, to its report, and what the page says of its flow alone."""
    page.evaluate(_WATCH)
    drawn, told, solving = [], [], []
    labels = [_SLIDERS[k * len(_SLIDERS) // moves] for k in range(moves)]
    for k, label in enumerate(labels):
        slider = page.locator(".bk-input-group", has_text=label).locator(".noUi-handle:visible")
        page.evaluate("window.moves = []")
        slider.press("ArrowRight" if k % 4 < 2 else "ArrowLeft")
        page.wait_for_function("window.moves.some(([kind]) => kind === 2)", polling=10)
        if label not in labels[k + 1 :]:
            pixels = page.evaluate(_PIXELS)
            page.wait_for_timeout(500)
            if page.evaluate(_PIXELS) != pixels:
                sys.exit("the pictures changed after they were said to be drawn")
        page.wait_for_timeout(200)
        frames = page.evaluate("window.moves")
        drawn.append(next(ms for kind, ms in frames if kind > 0))
        told.append(next(ms for kind, ms in frames if kind == 2))
        said = re.search(r"solved in (\d+) ms", page.locator("#status").inner_text())
        assert said is not None
        solving.append(float(said[1]))
    return drawn, told, solving


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moves", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="six moves")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    parser.add_argument("--picture", type=Path, help="also write the page at the end (.png)")
    options = parser.parse_args()
    moves = 6 if options.quick else options.moves
    from playwright.sync_api import sync_playwright  # optional

    command = [sys.executable, "-m", "spectral_icl", "explore", "--no-browser"]
    for setting in _SETTINGS:
        command += ["--set", setting]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[2]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(url)
            page.wait_for_function("document.documentElement.dataset.complete === 'true'")
            drawn, told, solving = measured(page, _FIRST + moves)
            if options.picture is not None:
                page.screenshot(path=options.picture)
            version = browser.version
            browser.close()
    finally:
        server.kill()
        server.wait()
    busy = os.getloadavg()[0]
    first, took = drawn[:_FIRST], drawn[_FIRST:]
    lines = [
        record.machine_line(),
        f"chromium {version}, headless, 1280 x 900; load average of the machine {busy:.1f} at the end",
        "",
        f"milliseconds from slider to pictures, H = 4, I = 3, {moves} moves",
        f"  median             {median(took):6.0f}",
        f"  worst              {max(took):6.0f}",
        f"  best               {min(took):6.0f}",
        f"  first moves        {', '.join(f'{ms:.0f}' for ms in first)}",
        f"  report, median     {median(told[_FIRST:]):6.0f}",
        f"  the flow alone     {median(solving[_FIRST:]):6.0f}  (median, as the page says)",
    ]
    text = "\n".join(lines)
    print(text)
    facts = {"chromium": version, "load": busy, "pictures": drawn, "report": told, "flow": solving}
    record.write(options.out, "explore", text, facts)


if __name__ == "__main__":
    main()
