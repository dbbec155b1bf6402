"""Pictures: the one room that knows matplotlib."""

import os
import sys
from contextlib import suppress

if "matplotlib" not in sys.modules:
    # it cannot be imported where MPLBACKEND names what is not there, as in a shell within a notebook
    _backend = os.environ.pop("MPLBACKEND", "")
    import matplotlib

    if _backend:
        os.environ["MPLBACKEND"] = _backend
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = _backend
