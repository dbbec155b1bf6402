"""Pictures: the one room that knows matplotlib."""
