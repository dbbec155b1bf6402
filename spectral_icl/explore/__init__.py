"""The live explorer: a page on this machine whose controls are the entries of an experiment file."""
