"""The site of docs/: it is built with warnings as errors, asks nothing of the network, and lacks no page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

for needed in ("sphinx", "myst_parser", "furo"):
    pytest.importorskip(needed, reason=f"the site wants {needed}: pip install '.[docs]'")
pytestmark = pytest.mark.beside
DOCS = ROOT / "docs"


def build(docs: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run the command of CONTRIBUTING.md."""
    words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(docs), str(out)]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(DOCS, out)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return out


def test_every_page_is_in_the_tree(site):
    tree = (site / "index.html").read_text().partition('class="sidebar-tree"')[2].partition("</aside>")[0]
    pages = {str(path.relative_to(DOCS).with_suffix(".html")) for path in DOCS.rglob("*.md")}
    assert not pages - {"index.html"} - set(re.findall(r'href="([\w/.-]+)"', tree))


def test_nothing_is_loaded_from_elsewhere(site):
    loaded = r'<(?:link|script|img|iframe)[^>]*(?:href|src)="(?:https?:)?//[^"]*"'
    assert not [found for page in site.rglob("*.html") for found in re.findall(loaded, page.read_text())]
    sheets = [path.read_text() for path in site.rglob("*.css")]
    assert sheets and not [sheet for sheet in sheets if re.search(r"url\(['\"]?https?:|@import", sheet)]


def test_pages_from_outside_of_docs_are_whole(site):
    assert "An open DistBelief" in (site / "site" / "readme.html").read_text()
    assert "Keep a Changelog" in (site / "site" / "changelog.html").read_text()


def test_commands_say_what_they_take(site):
    page = (site / "commands.html").read_text()
    assert "usage: python -m dbmpi.train" in page and "--set section.key=value" in page
    assert str(ROOT) not in page


LINKS = {
    "data.md#no-such-heading": "no-such-heading",
    "../README.md#no-such-heading": "no-such-heading",
    "no-such-page.md": "no-such-page",
    "../examples/no-such-file.toml": "no-such-file",
}


def test_links_that_lead_nowhere_are_errors(tmp_path):
    docs = tmp_path / "docs"
    (docs / "site").mkdir(parents=True)
    for name in ("conf.py", "site/pages.py", "data.md"):
        (docs / name).write_text((DOCS / name).read_text())
    (tmp_path / "dbmpi.py").write_text('__version__ = "1"')
    (tmp_path / "README.md").write_text("# A heading\n")
    (docs / "data.md").write_text("# Data\n")
    (docs / "site" / "readme.md").write_text("stub\n")
    listed = " ".join(f"[x]({link})" for link in LINKS)
    (docs / "index.md").write_text(f"# Site\n\n## Reference\n\n* [y](data.md)\n\n{listed}\n")
    done = build(docs, tmp_path / "out")
    assert done.returncode != 0
    assert not [link for link, named in LINKS.items() if named not in done.stderr]
    assert done.stderr.count("WARNING") == len(LINKS)
