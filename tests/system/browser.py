"""A real browser for tests of pages, where playwright and a Chromium are there; else they are skipped."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PROGRAMS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
# Looks at a page as it is laid out, and returns what is wrong with it: what leaves the window or lies over
# something else, drawings whose texts do, charts that are blank, sections that are empty.
LOOK = r"""
() => {
  const problems = [], wide = document.documentElement.clientWidth;
  const box = (one) => one.getBoundingClientRect();
  const seen = (one) => box(one).width && box(one).height;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);
  const name = (one) => `${one.tagName}.${one.getAttribute("class")} ${(one.textContent || "").slice(0, 40)}`;
  const meet = (a, b, slack) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > slack;

  if (document.documentElement.scrollWidth > wide) problems.push("the page is wider than the window");
  for (const one of all("body *")) {
    if (one.closest(".scroll > *, .skip, .uplot")) continue;
    if (box(one).right > wide + 1 || box(one).left < -1) problems.push("out of the window: " + name(one));
    const scrolls = one.closest("svg, .scroll") || getComputedStyle(one).display === "inline";
    if (!scrolls && one.scrollWidth > one.clientWidth + 1) problems.push("overflows: " + name(one));
  }

  const apart = "main > *, section > *, figure > *, .side > *, .row > *, .figures > *, .head > *, " +
    ".legend > *, li, dd > *";
  const boxes = all(apart).filter((one) => !one.closest(".switch")).map((one) => [one, box(one)]);
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [one, a] = boxes[i], [other, b] = boxes[j];
    if (!meet(a, b, 1) || one.contains(other) || other.contains(one)) continue;
    problems.push("overlap: " + name(one) + " | " + name(other));
  }

  for (const svg of all("svg.drawing")) {
    const whole = box(svg), texts = [...svg.querySelectorAll("text")], boxes = texts.map(box);
    texts.forEach((text, i) => {
      const r = boxes[i];
      const inside = r.left > whole.left - 1 && r.right < whole.right + 1 && r.top > whole.top - 1;
      if (!inside || r.bottom > whole.bottom + 1) problems.push("leaves its drawing: " + text.textContent);
      if (boxes.slice(i + 1).some((b) => meet(r, b, 2))) problems.push("texts overlap: " + text.textContent);
    });
  }

  for (const plot of all(".plot")) {
    const canvas = plot.querySelector("canvas"), label = plot.getAttribute("aria-label").slice(0, 40);
    if (!canvas) { problems.push("no chart: " + label); continue; }
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const colours = new Set();
    for (let i = 0; i < pixels.length; i += 4)
      if (pixels[i + 3] > 200) colours.add([pixels[i], pixels[i + 1], pixels[i + 2]].join());
    if (colours.size < 5) problems.push("blank chart: " + label);
  }
  for (const one of all("section")) if (one.children.length < 2) problems.push("empty section " + one.id);
  return problems.slice(0, 30);
}
"""


@contextmanager
def browser() -> Iterator[Any]:
    """Start a browser; skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        found = next(filter(None, map(shutil.which, PROGRAMS)), None)
        try:
            chromium = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium can be started: {str(error).splitlines()[0]}")
        try:
            yield chromium
        finally:
            chromium.close()


class Seen:
    """A page that is open in a browser, and what was noticed: requests, and what its console says."""

    def __init__(self, chromium: Any, path: object) -> None:
        self.page = chromium.new_page()
        self.requests: list[str] = []
        self.console: list[str] = []
        self._width = 0
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.goto(f"file://{path}")

    def open_all(self) -> None:
        """Unfold everything, and let its charts be drawn."""
        self.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        self.page.wait_for_timeout(100)

    def look(self, width: int, scheme: str) -> list[str]:
        """Return what is wrong in a window so wide, with the colours of a scheme."""
        if self._width != width:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.wait_for_timeout(150)  # charts are drawn anew a tenth of a second after the last change
            self._width = width
        self.page.emulate_media(color_scheme=scheme)
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        problems: list[str] = self.page.evaluate(LOOK)
        return problems
