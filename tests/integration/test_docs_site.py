"""The documentation site as `make docs` builds it: every link leads somewhere, and no other host is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs_site import build_site
from website.assemble import ROOT

LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "input": ("src",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
}
#: What a `link` element may name without anything being loaded.
NOT_LOADED = {"canonical", "alternate", "prev", "next"}
TRANSLATED = ("index", "quick-start", "concepts", "strategies")


@dataclass
class Page(HTMLParser):
    """What a page links to, loads, and can be entered at."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    has_diagram: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.has_diagram |= tag == "pre" and given.get("class") == "mermaid"
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in NOT_LOADED:
            self.loads.append(given.get("href", ""))
        self.loads += [given[name] for name in LOADED.get(tag, ()) if name in given]
        self.loads += re.findall(r"url\(\s*['\"]?([^'\")]+)", given.get("style", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning."""
    return build_site(tmp_path_factory.mktemp("docs"))


@cache
def parsed(path: Path) -> Page:
    """Return what a page has."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def pages_of(site: Path) -> list[Path]:
    """Return every page of the site."""
    found = sorted(site.rglob("*.html"))
    assert len(found) > 40
    return found


def target_of(page: Path, link: str, site: Path) -> Path:
    """Return the file that a link of a page leads to."""
    path = unquote(urlsplit(link).path)
    start = site if path.startswith("/") else page.parent
    target = (start / path.lstrip("/")).resolve() if path else page
    return target / "index.html" if target.is_dir() else target


def is_abroad(link: str) -> bool:
    """Tell whether a link names another host, or nothing that is fetched."""
    return bool(urlsplit(link).scheme or urlsplit(link).netloc)


def test_every_page_of_the_folder_is_in_the_navigation() -> None:
    listed = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    pages = {path.name for path in (ROOT / "docs").glob("*.md") if not path.name.endswith(".zh-TW.md")}
    assert pages - set(listed) == set()


def test_every_link_leads_to_a_page_and_to_a_place_on_it(site: Path) -> None:
    broken = []
    for page in pages_of(site):
        for link in filter(lambda each: not is_abroad(each), parsed(page).links):
            target, anchor = target_of(page, link, site), unquote(urlsplit(link).fragment)
            is_there = target.is_file() and site in (target, *target.parents)
            if not is_there or (anchor and anchor not in parsed(target).anchors):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_everything_that_a_page_loads_is_part_of_the_site(site: Path) -> None:
    missing = [
        f"{page.relative_to(site)}: {loaded}"
        for page in pages_of(site)
        for loaded in parsed(page).loads
        if not loaded.startswith("data:")
        and (is_abroad(loaded) or not target_of(page, loaded, site).is_file())
    ]
    assert missing == []


def test_no_style_sheet_loads_anything_from_elsewhere(site: Path) -> None:
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        loaded = re.findall(r"(?:url\(\s*|@import\s+)['\"]?([^'\")\s;]+)", sheet.read_text(encoding="utf-8"))
        assert [each for each in loaded if is_abroad(each) and not each.startswith("data:")] == []


def test_diagrams_are_drawn_by_a_script_of_the_site(site: Path) -> None:
    # The theme fetches one from another host where none is there before it.
    with_diagram = [page for page in pages_of(site) if parsed(page).has_diagram]
    assert {page.name for page in with_diagram} >= {"index.html", "protocol.html", "lifecycle.html"}
    for page in pages_of(site):
        scripts = [Path(script).name for script in parsed(page).loads if script.endswith(".js")]
        ours = [script for script in scripts if script == "mermaid.tiny.js"]
        assert len(ours) == parsed(page).has_diagram, page
        assert not ours or scripts.index("mermaid.tiny.js") < scripts.index(
            next(script for script in scripts if script.startswith("bundle."))
        )


@pytest.mark.parametrize("name", TRANSLATED)
def test_the_first_pages_are_there_in_chinese(site: Path, name: str) -> None:
    english, chinese = (site / folder / f"{name}.html" for folder in ("", "zh-TW"))
    assert '<html lang="zh-TW"' in chinese.read_text(encoding="utf-8")

    def ideographs(path: Path) -> int:
        article = path.read_text(encoding="utf-8").split("<article", 1)[1].split("</article", 1)[0]
        return len(re.findall(r"[\u4e00-\u9fff]", article))

    assert ideographs(english) < 20
    assert ideographs(chinese) > 300
