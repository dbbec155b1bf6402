"""Links of a built site: what leads nowhere is found, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "docs" / "extensions" / "followed.py"


def follow(site: Path) -> subprocess.CompletedProcess[str]:
    """The command on a site."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(site)], capture_output=True, text=True, timeout=60, check=False
    )


def test_broken_links_and_anchors_are_named(tmp_path: Path) -> None:
    (tmp_path / "a b.html").write_text('<p id="here">')
    good = '<a href="a%20b.html#here"></a><a href="#top"></a><p id="top"><a href="https://x.org/y"></a>'
    (tmp_path / "index.html").write_text(good)
    assert follow(tmp_path).returncode == 0
    bad = '<a href="a%20b.html#there"></a><img src="missing.png"><a href="../outside.html"></a>'
    bad += '<a href="#x"></a>'
    (tmp_path / "index.html").write_text(good + bad)
    found = follow(tmp_path)
    assert found.returncode == 1
    assert found.stdout.splitlines() == [
        "index.html: a%20b.html#there: no such anchor",
        "index.html: missing.png: no such page",
        "index.html: ../outside.html: no such page",
        "index.html: #x: no such anchor",
    ]


def test_a_folder_without_a_site_is_refused(tmp_path: Path) -> None:
    assert follow(tmp_path).returncode == 2
