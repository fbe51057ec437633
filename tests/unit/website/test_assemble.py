"""Links of pages that are written for the repository, as they are on the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from website.assemble import BrokenLink, assemble, for_the_site, site_pages, with_anchors_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a few pages."""
    for name, text in {
        "README.md": "[Read](docs/use.md#how)\n",
        "README.zh-TW.md": "# 首頁\n",
        "settings.py": "",
        "docs/use.md": "",
        "docs/img/drawn.svg": "<svg/>",
        "bench/plots/plot.svg": "<svg/>",
        "docs/decisions/README.md": "",
        "bench/RESULTS.md": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("README.md", "[Use](docs/use.md) it", "[Use](use.md) it"),
        ("README.md", "[Use](docs/use.md#how) it", "[Use](use.md#how) it"),
        ("docs/use.md", "[Figures](../bench/RESULTS.md)", "[Figures](results.md)"),
        ("docs/decisions/README.md", "[Home](../../README.md)", "[Home](../index.md)"),
        ("README.md", "[why](docs/decisions)", "[why](decisions/README.md)"),
        ("docs/use.md", "![A picture](img/drawn.svg)", "![A picture](img/drawn.svg)"),
        ("bench/RESULTS.md", "![A plot](plots/plot.svg)", "![A plot](img/plots/plot.svg)"),
        ("bench/RESULTS.md", "![A picture](../docs/img/drawn.svg)", "![A picture](img/drawn.svg)"),
        ("docs/use.md", "see [`settings.py`](../settings.py).", "see `settings.py`."),
        ("docs/use.md", "[Celery](https://docs.celeryq.dev) [below](#how)", None),
        ("docs/use.md", "```\n[not](a-link.md)\n```\n", None),
        ("README.md", "*[正體中文](README.zh-TW.md)*\n", "\n"),
    ],
)
def test_a_link_leads_to_where_its_page_is_on_the_site(
    root: Path, source: str, text: str, expected: str | None
) -> None:
    assert for_the_site(text, source, site_pages(root), root) == (text if expected is None else expected)


def test_a_link_to_nothing_is_named_with_its_page(root: Path) -> None:
    with pytest.raises(BrokenLink, match=r"docs/use\.md links to gone\.md, and there is no docs/gone\.md"):
        for_the_site("[Gone](gone.md)", "docs/use.md", site_pages(root), root)


def test_a_translation_can_be_entered_where_the_original_can() -> None:
    original = "# Home\n## What it `does`, and how\n```\n# no heading\n```\n"
    assert with_anchors_of(original, "# 首頁\n## 做什麼\n") == (
        '<a id="home"></a>\n\n# 首頁\n<a id="what-it-does-and-how"></a>\n\n## 做什麼\n'
    )
    assert with_anchors_of(original, "# 首頁\n") == "# 首頁\n"


def test_a_folder_is_made_anew(root: Path) -> None:
    folder = root / "build" / "pages"
    folder.mkdir(parents=True)
    (folder / "of-an-earlier-version.md").touch()
    assemble(folder, root)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == [
        "decisions/README.md",
        "img/drawn.svg",
        "img/plots/plot.svg",
        "index.md",
        "index.zh-TW.md",
        "results.md",
        "use.md",
    ]
    assert (folder / "index.md").read_text() == "[Read](use.md#how)\n"
