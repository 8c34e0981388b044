"""Where the example documents are."""

import os
from pathlib import Path

import aifactory


def example_folder() -> Path:
    """Return where the example documents are: in the wheel, or beside ``src``."""
    package = Path(aifactory.__file__).parent
    shipped = package / "_examples"
    return shipped if shipped.is_dir() else package.parent.parent / "examples"


def as_typed(path: Path) -> str:
    """Return a path as short as it can be typed here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
