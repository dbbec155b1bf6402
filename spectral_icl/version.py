"""The version, in its one place: the installation, saved files and citations take it from here."""

__version__ = "0.2.0"
