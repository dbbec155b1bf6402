"""The claims of the first paper."""
