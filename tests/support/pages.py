"""What is printed on a page of the documentation: its blocks, sections, links and headings."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def section(text: str, title: str) -> str:
    """The part of a page below one of its second headings."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str = "sh") -> list[str]:
    """What stands in the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def anchors(text: str) -> set[str]:
    """What a link may name behind its ``#``: the headings, as they are made into ids."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    found: set[str] = set()
    for title in re.findall(r"^#+ (.*)$", text, re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        number = sum(1 for each in found if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", each))
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


def links(text: str) -> list[str]:
    """Where the links and pictures of a page lead, within the repository."""
    text = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.S | re.M)
    text = re.sub(r"`[^`\n]*`", "", text)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
