"""What setup.cfg cannot say: the files of examples/ are installed in the package, and lie beside it here."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithExamples(build_py):
    """Copies the experiment files into what is built; whoever edits the package has them where they are."""

    def run(self) -> None:
        """Build the package, then put the files in."""
        super().run()
        if self.editable_mode:
            return
        for file in sorted(Path("examples").rglob("*.toml")):
            target = Path(self.build_lib, "spectral_icl", file)
            self.mkpath(str(target.parent))
            self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithExamples})
