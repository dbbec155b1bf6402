"""What a release says of itself in several places is the same in all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from shell import run

import spectral_icl as si
from spectral_icl.doctor.checks import CHECKS
from spectral_icl.doctor.facts import Requirement, requirements
from spectral_icl.io.provenance import environment

ROOT = Path(__file__).parents[2]
VALIDATE = "from cffconvert.cli.cli import cli; cli()"
ON_CONDA = {"matplotlib": "matplotlib-base"}  # that without a toolkit of windows


def setup_cfg() -> ConfigParser:
    """The metadata and the settings of all tools."""
    found = ConfigParser()
    found.read(ROOT / "setup.cfg", "utf-8")
    return found


def read_yaml(name: str) -> Any:
    """A file of the repository."""
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def lines_of(text: str) -> list[str]:
    """The entries of an option of setup.cfg."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def required(lines: list[str]) -> dict[str, str]:
    """The lowest versions by package, of lines of setup.cfg; extras may name others of this package."""
    found = (re.fullmatch(r"([\w-]+)(?:\[.*\])?(?:>=([\w.]+))?", line) for line in lines)
    return {match[1]: match[2] for match in found if match and match[1] != "spectral-icl"}


def on_conda(lines: list[str]) -> dict[str, str]:
    """The lowest versions by package, of lines of the recipe."""
    return dict(line.split(" >=") for line in lines if " >=" in line)


def test_the_version_is_the_same_everywhere() -> None:
    assert run("--version") == (0, f"spectral-icl, version {si.__version__}\n", "")
    assert environment()["spectral-icl"] == si.__version__
    assert read_yaml("CITATION.cff")["version"] == si.__version__
    assert read_yaml("conda/meta.yaml")["package"]["version"] == si.__version__
    assert setup_cfg()["metadata"]["version"] == "attr: spectral_icl.version.__version__"


def test_the_installation_is_of_this_version() -> None:
    """One that is older does not know of new commands: pip install -e '.[dev]' again."""
    assert version("spectral-icl") == si.__version__


def test_the_newest_changes_are_those_of_this_version_or_unreleased() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings in (released, ["Unreleased", *released])
    day = read_yaml("CITATION.cff")["date-released"]
    assert isinstance(day, date)
    assert released[0] == f"{si.__version__} ({day})"


def test_the_oldest_python_is_the_same_everywhere() -> None:
    found = setup_cfg()
    oldest = found["options"]["python_requires"].removeprefix(">=")
    named = re.findall(r"Python :: (3\.\d+)$", found["metadata"]["classifiers"], re.MULTILINE)
    assert named[0] == oldest
    assert [int(name.split(".")[1]) for name in named] == list(range(11, 11 + len(named)))
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in named
    assert found["mypy"]["python_version"] == oldest
    ruff = tomllib.loads((ROOT / ".ruff.toml").read_text("utf-8"))
    assert ruff["target-version"] == f"py{oldest.replace('.', '')}"
    for step in ("host", "run"):
        assert on_conda(read_yaml("conda/meta.yaml")["requirements"][step])["python"] == oldest


def test_the_recipe_needs_what_the_package_needs() -> None:
    found, recipe = setup_cfg(), read_yaml("conda/meta.yaml")["requirements"]
    always = required(lines_of(found["options"]["install_requires"]))
    assert on_conda(recipe["run"]) == {"python": "3.11", **always}
    extras = {name: required(lines_of(text)) for name, text in found["options.extras_require"].items()}
    (everything,) = lines_of(found["options.extras_require"]["all"])
    chosen = everything.removeprefix("spectral-icl[").removesuffix("]").split(",")
    optional = {ON_CONDA.get(p, p): least for name in chosen for p, least in extras[name].items()}
    assert on_conda(recipe["run_constrained"]) == optional
    (script,) = lines_of(found["options.entry_points"]["console_scripts"])
    assert read_yaml("conda/meta.yaml")["build"]["entry_points"] == [script]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    assert on_conda(recipe["host"])["setuptools"] == required(build)["setuptools"]


def test_the_installation_needs_what_setup_cfg_says() -> None:
    """The doctor looks at these: all of setup.cfg but what developers need."""
    found = setup_cfg()
    expected = {
        Requirement(package, least or "0", extra)
        for extra, text in found["options.extras_require"].items()
        if extra not in ("dev", "docs", "validation")
        for package, least in required(lines_of(text)).items()
    }
    always = required(lines_of(found["options"]["install_requires"]))
    expected |= {Requirement(package, least, None) for package, least in always.items()}
    assert set(requirements()) == expected


def validated(file: Path) -> int:
    """Status of the validation of a citation file against the schema of its version."""
    command = [sys.executable, "-W", "ignore", "-c", VALIDATE, "--validate", "-i", file.name]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, timeout=60, check=False)
    return done.returncode


def test_the_citation_is_valid() -> None:
    assert validated(ROOT / "CITATION.cff") == 0


@pytest.mark.parametrize(
    ("old", "new"), [("title:", "titel:"), ("family-names", "family"), ("MIT", "M.I.T.")]
)
def test_a_citation_that_is_not_is_noticed(old: str, new: str, tmp_path: Path) -> None:
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    (tmp_path / "CITATION.cff").write_text(text.replace(old, new, 1))
    assert validated(tmp_path / "CITATION.cff") != 0


def test_both_lists_of_citations_are_of_the_same_works() -> None:
    cff, bibtex = (ROOT / "CITATION.cff").read_text("utf-8"), run("cite")[1]
    in_bibtex = re.findall(r"eprint += \{([\d.]+)\}|doi += \{(.*?)\}", bibtex)
    in_cff = re.findall(r"arxiv\.org/abs/([\d.]+)|doi: (\S+)", cff)
    assert sorted(in_bibtex) == sorted(in_cff)
    assert len(in_bibtex) == 4


@pytest.mark.skipif(os.name != "posix", reason="the script is one of a shell")
def test_the_check_of_the_wheel_is_part_of_continuous_integration() -> None:
    check = ROOT / ".ci" / "wheel"
    assert os.access(check, os.X_OK)
    assert ".ci/wheel" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert ".ci/wheel" in (ROOT / "noxfile.py").read_text("utf-8")


def test_the_page_about_installing_has_every_extra_and_every_check() -> None:
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    extras = set(setup_cfg()["options.extras_require"]) - {"validation"}
    assert set(re.findall(r"^\| `pip install .*\.\[(\w+)\]", page, re.MULTILINE)) == extras
    checks = page.partition("| check |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| ([a-z ]+) \|", checks, re.MULTILINE) == list(CHECKS)
