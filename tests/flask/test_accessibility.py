"""Every page, as a person with low vision or without a mouse meets it: axe-core, and 3:1 edges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Error, Page, expect

from cps_auth.pki.judge import Judge
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.pictures import SCENES, Walk, variants, walks

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = {"resultTypes": ["violations"]}
LOWEST_CONTRAST = 3.0
"""Of edges and focus rings against what is around them (WCAG 2.2, 1.4.11 and 2.4.13)."""

EDGES = """
() => {
  const paint = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const over = ([r, g, b, a], ground) =>
    [r, g, b].map((value, index) => (value * a + ground[index] * (255 - a)) / 255);
  const groundOf = (element) => {
    if (!element) return rgba(getComputedStyle(document.documentElement).backgroundColor)[3]
      ? rgba(getComputedStyle(document.documentElement).backgroundColor).slice(0, 3)
      : rgba("Canvas").slice(0, 3);
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 255 ? own.slice(0, 3) : over(own, groundOf(element.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const wrong = [];
  const shown = (element) => element.checkVisibility({visibilityProperty: true});
  const inert = document.querySelector("dialog[open]");
  const all = [...document.querySelectorAll("a[href], button, summary, input:not([type=hidden])")]
    .filter((element) => shown(element) && (!inert || inert.contains(element)));
  const before = document.activeElement;
  for (const element of all) {
    const around = groundOf(element.parentElement);
    const style = getComputedStyle(element);
    const name = `${element.tagName}.${element.className} ${element.textContent.trim()}`;
    if (element.matches("input:not([type=checkbox]), button, .cps-button, .action")) {
      const edges = [over(rgba(style.backgroundColor), around)];
      if (parseFloat(style.borderTopWidth) > 0 && style.borderTopStyle !== "none") {
        edges.push(over(rgba(style.borderTopColor), around));
      }
      const shadow = style.boxShadow.match(/^(.*\\)) 0px 0px 0px .* inset/);
      if (shadow) edges.push(over(rgba(shadow[1]), around));
      const best = Math.max(...edges.map((edge) => contrast(edge, around)));
      if (best < LOWEST) wrong.push(`edge ${best.toFixed(2)} of ${name}`);
    }
    element.focus({preventScroll: true});
    if (document.activeElement !== element) continue;
    const ring = getComputedStyle(element);
    const isThere = ring.outlineStyle !== "none" && parseFloat(ring.outlineWidth) >= 2;
    const seen = isThere ? contrast(over(rgba(ring.outlineColor), around), around) : 1;
    if (seen < LOWEST) wrong.push(`focus ${seen.toFixed(2)} of ${name}`);
  }
  before?.focus?.({preventScroll: true});
  return wrong;
}
""".replace("LOWEST", str(LOWEST_CONTRAST))


@pytest.fixture(scope="module")
def both_walks(igc: FakeIgcSante, judge: Judge) -> Iterator[list[Walk]]:
    """The applications, and a browser in each language."""
    expect.set_options(timeout=20_000)
    with walks(igc, judge) as both:
        yield both


@pytest.mark.parametrize("name", SCENES)
def test_a_page_is_fit_for_everybody(both_walks: list[Walk], name: str) -> None:
    """Nothing found in light, dark and forced colours, French and English, desk and phone."""
    wrong = []
    for walk in both_walks:
        walk.begin()
        SCENES[name](walk)
        walk.page.wait_for_load_state()
        for variant in variants(walk.page):
            found = [*_axe(walk.page), *_edges(walk.page), *_overflow(walk.page)]
            wrong += [f"{walk.language} {variant}: {one}" for one in found]
    assert not wrong, "\n".join(wrong)


def _axe(page: Page) -> Iterator[str]:
    try:
        answer = _run_axe(page)
    except Error:  # the page was made anew meanwhile: a session's end leads to another one
        page.wait_for_load_state()
        answer = _run_axe(page)
    for violation in answer["violations"]:
        for node in violation["nodes"]:
            yield f"{violation['id']} {node['target']} {node['failureSummary']}"


def _run_axe(page: Page) -> dict[str, Any]:
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE)
    answer: dict[str, Any] = page.evaluate("(rules) => axe.run(document, rules)", RULES)
    return answer


def _edges(page: Page) -> list[str]:
    page.keyboard.press("Shift")  # from here on focus is shown as to somebody without a mouse
    found: list[str] = page.evaluate(EDGES)
    return found


def _overflow(page: Page) -> Iterator[str]:
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if width > 0:
        yield f"{width} px wider than the screen"
