"""HTTP requests in bounded time: connections, token, byte counts, and the classification of answers.

requests imports what guesses the charset of an answer and what encodes host names outside ASCII: 5 MB. No answer is
guessed here, so the first is left out; the second is imported when there is such a name.
"""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any


def _without_guessing() -> None:
    warnings.filterwarnings("ignore", "Unable to find acceptable character detection dependency")
    for name in ("chardet", "charset_normalizer"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # it is what the import system takes for "not there"


def _idna(attribute: str) -> Any:
    """Return something of the module `idna`, in whose place there is an empty one until then."""
    del sys.modules["idna"]
    import idna  # noqa: PLC0415 - see above

    return getattr(idna, attribute)


_without_guessing()
if "idna" not in sys.modules:
    sys.modules["idna"] = ModuleType("idna")
    sys.modules["idna"].__getattr__ = _idna  # type: ignore[method-assign] # a module's own, PEP 562
