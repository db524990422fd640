"""A person's own module, whose networks, norms, data sets or quantities register themselves when it is imported."""

import sys
from importlib import import_module
from pathlib import Path

from ics.errors import UserError


def import_plugin(name: str) -> None:
    """Import a module, once; from among the installed ones or from the current folder.

    Args:
        name: with dots, as in an import statement.

    Raises:
        UserError: there is no such module, or importing it fails.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        import_module(name)
    except Exception as error:  # it is not our code
        raise UserError(f"plugin {name!r} cannot be imported: {type(error).__name__}: {error}") from error
