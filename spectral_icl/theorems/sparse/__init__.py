"""The claims of the second paper."""
