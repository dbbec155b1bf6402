"""Whether everything works on this machine, and what to tell of it when something does not."""
