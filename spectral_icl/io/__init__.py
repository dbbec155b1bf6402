"""What crosses the border of the package: arguments, files, tables, provenance, progress."""
