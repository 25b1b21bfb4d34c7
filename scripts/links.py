"""Finds links between the project's Markdown files that lead nowhere: files, and headings in them."""

import re
import sys
from pathlib import Path

LINK = re.compile(r"(?<!`)\[[^\]]*\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def documents(root: Path) -> list[Path]:
    """Every Markdown file that is the project's own."""
    tops = (*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "benchmarks").glob("*.md"))
    return sorted(tops)


def anchors(document: Path) -> set[str]:
    """The anchors that a Markdown viewer makes from the headings."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in HEADING.findall(text)}


def broken(document: Path) -> list[str]:
    """One sentence for each link of the document that leads nowhere."""
    found = []
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    for path, anchor in LINK.findall(text):
        target = (document.parent / path) if path else document
        if not target.exists():
            found.append(f"{document}: {path} does not exist")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            found.append(f"{document}: {path or document.name} has no heading #{anchor}")
    return found


def main() -> int:
    """Prints what is broken; 1 when something is."""
    sentences = [sentence for document in documents(Path()) for sentence in broken(document)]
    sys.stdout.writelines(f"{sentence}\n" for sentence in sentences)
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
