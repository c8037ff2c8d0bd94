#!/usr/bin/env python3
"""Make the pictures of docs/report.md from reports of real runs.

    python scripts/report_pictures.py RUN docs/pictures

RUN should have lost a rank and been resumed, and have ten classes or so: README.md has the mpirun line.
Needs playwright and a Chromium.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 1000, 940  # of the window


def main() -> int:
    """Take the pictures; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as started:
        page = Path(scratch) / "report.html"
        subprocess.run([sys.executable, "-m", "dbmpi.report", given.run, "-o", page], check=True)
        program = shutil.which("chromium")
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        take(browser, page, given.folder)
        browser.close()
    return 0


def take(browser: Any, page: Path, folder: Path) -> None:
    """Take all pictures of a page: its top, and two of its sections."""
    seen = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
    seen.goto(f"file://{page}")
    seen.screenshot(path=folder / "report-top.png")
    seen.check("input[value=life]")
    seen.locator("#life").screenshot(path=folder / "report-life.png")
    seen.emulate_media(color_scheme="dark")
    seen.locator("#classes figure").first.screenshot(path=folder / "report-classes.png")


if __name__ == "__main__":
    sys.exit(main())
