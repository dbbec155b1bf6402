"""``python -m spectral_icl`` is the command ``spectral-icl``."""

from spectral_icl.cli import main

if __name__ == "__main__":
    main()
