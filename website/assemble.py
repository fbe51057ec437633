"""Gather the pages of the documentation site: `docs/`, and what lies elsewhere in the checkout.

    python -m website.assemble FOLDER

The pages are written for the repository. Where one links to a file that is no page of the site (a script, an
example), the site keeps the words and leaves out the link.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
#: Pages outside of `docs/`, by where they are on the site.
ELSEWHERE = {
    "README.md": "index.md",
    "README.zh-TW.md": "index.zh-TW.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "bench/CRASH_MATRIX.md": "crash-matrix.md",
    "bench/FAILOVER.md": "failover.md",
    "bench/RESULTS.md": "results.md",
    "tests/chaos/README.md": "crash-test.md",
    "tests/mutation/README.md": "mutants.md",
}
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
LINK = re.compile(r"(?P<image>!?)\[(?P<words>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
#: The line by which a page offers its translation: the site has a menu for that.
OTHER_LANGUAGE = re.compile(r"^\*\[[^\]]*\]\([^)]*README[^)]*\)\*$")
HEADING = re.compile(r"^#{1,6} ")
ABROAD = re.compile(r"[a-z]+:|#")


class BrokenLink(Exception):
    """Raised when a page links to a file that does not exist."""


def assemble(folder: Path, root: Path = ROOT) -> None:
    """Write the pages and pictures of the site to `folder`, which is made anew. Raises `BrokenLink`."""
    pages, broken = site_pages(root), []
    shutil.rmtree(folder, ignore_errors=True)
    for source, place in pages.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            text = (root / source).read_text(encoding="utf-8")
            original = root / source.replace(".zh-TW.md", ".md")
            if original != root / source:
                text = with_anchors_of(original.read_text(encoding="utf-8"), text)
            try:
                target.write_text(for_the_site(text, source, pages, root), encoding="utf-8")
            except BrokenLink as error:
                broken.append(str(error))
        else:
            shutil.copyfile(root / source, target)
    if broken:
        raise BrokenLink("\n".join(broken))


def site_pages(root: Path) -> dict[str, str]:
    """Return every file of the site: where it is in the checkout, and where on the site."""
    files = sorted(path for path in (root / "docs").rglob("*") if path.is_file())
    pages = {path.relative_to(root).as_posix(): path.relative_to(root / "docs").as_posix() for path in files}
    plots = sorted((root / "bench" / "plots").glob("*.svg"))
    pages |= {path.relative_to(root).as_posix(): f"img/plots/{path.name}" for path in plots}
    return pages | {source: place for source, place in ELSEWHERE.items() if (root / source).exists()}


def for_the_site(text: str, source: str, pages: Mapping[str, str], root: Path) -> str:
    """Return the text of a page of the checkout with its links as they are on the site."""

    def moved(match: re.Match[str]) -> str:
        if ABROAD.match(match["target"]):
            return match[0]
        path, _, anchor = match["target"].partition("#")
        wanted = _resolve(source, path)
        if not (root / wanted).exists():
            raise BrokenLink(f"{source} links to {match['target']}, and there is no {wanted}")
        if (root / wanted).is_dir():
            wanted += "/README.md"
        if wanted not in pages:
            return match["words"]
        here = PurePosixPath(pages[source]).parent
        target = os.path.relpath(pages[wanted], here)
        return f"{match['image']}[{match['words']}]({target}{'#' if anchor else ''}{anchor})"

    return "".join(
        line if is_code else LINK.sub(moved, OTHER_LANGUAGE.sub("", line)) for line, is_code in _lines(text)
    )


def with_anchors_of(original: str, translation: str) -> str:
    """Return a translated page that can also be entered at the places of the original.

    Pages that are not translated link to those. Without effect where the headings are not as many.
    """
    wanted = [_anchor(line) for line, is_code in _lines(original) if not is_code and HEADING.match(line)]
    lines = list(_lines(translation))
    places = [number for number, (line, is_code) in enumerate(lines) if not is_code and HEADING.match(line)]
    texts = [line for line, _ in lines]
    if len(wanted) == len(places):
        for number, anchor in zip(places, wanted, strict=True):
            texts[number] = f'<a id="{anchor}"></a>\n\n{texts[number]}'
    return "".join(texts)


def _anchor(heading: str) -> str:
    words = re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower())
    return words.replace(" ", "-")


def _resolve(source: str, path: str) -> str:
    return os.path.normpath(PurePosixPath(source).parent / path)


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether it belongs to a block of code."""
    fence = ""
    for line in text.splitlines(keepends=True):
        found = FENCE.match(line)
        if not fence and found:
            fence = found[1]
            yield line, True
        elif fence:
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            yield line, True
        else:
            yield line, False


if __name__ == "__main__":
    try:
        assemble(Path(sys.argv[1]))
    except BrokenLink as error:
        sys.exit(str(error))
