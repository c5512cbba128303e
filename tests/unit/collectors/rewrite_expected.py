"""`python -m tests.unit.collectors.rewrite_expected`: write what the collectors make of every recorded case.

The difference is the review: read it before it is committed.
"""

from __future__ import annotations

from collectors import registry
from tests.unit.collectors import recorded


def main() -> None:
    """Write each expectation anew; one that has become empty is removed."""
    for collector, case in recorded.every():
        file, text = recorded.expectation(collector, case), recorded.render(registry.load(collector), case)
        if text == recorded.expected(collector, case):
            continue
        print(f"{'wrote' if text else 'removed'} {file.relative_to(recorded.FIXTURES)}")
        file.parent.mkdir(exist_ok=True)
        if text:
            file.write_text(text, encoding="utf-8")
        else:
            file.unlink()


if __name__ == "__main__":
    main()
