"""What `spectral-icl doctor` prints: the facts, then the checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spectral_icl.doctor.checks import Check, examined
from spectral_icl.doctor.facts import machine, settings, versions
from spectral_icl.io.text import table


@dataclass(frozen=True)
class DoctorReport:
    """Facts and checks.

    Attributes
    ----------
    versions : dict
        By package; None of what is not installed.
    machine, settings : dict
    checks : tuple of Check
    """

    versions: Mapping[str, str | None]
    machine: Mapping[str, str]
    settings: Mapping[str, str]
    checks: tuple[Check, ...]

    @property
    def success(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def to_text(self) -> str:
        """Tables of facts, and a line for each check."""
        lines = []
        for title, facts in (
            ("versions", self.versions),
            ("machine", self.machine),
            ("settings", self.settings),
        ):
            rows = [(name, "not installed" if value is None else value) for name, value in facts.items()]
            lines += [title, *(table(rows) if rows else ["  none"]), ""]
        lines += ["checks", *(f"  {check.to_text()}" for check in self.checks)]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """Everything."""
        return {
            "versions": dict(self.versions),
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "checks": [vars(check) for check in self.checks],
            "success": self.success,
        }


def examine() -> DoctorReport:
    """Look at this installation, the machine and the environment; takes a second, of compiling."""
    given = settings()  # before threadpoolctl is imported, which sets one
    checks = tuple(examined())
    return DoctorReport(versions(), machine(), given, checks)
