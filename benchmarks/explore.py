"""`python -m benchmarks.explore`: how soon the page of maps shows one, and how it moves, in a headless Chromium.

It starts a site of its own and hands the page maps that are made up, of as many letters as asked for, so that nothing
has to be fitted. First paint is the time from the start of the navigation to the first frame with the points on it, in
a fresh profile (nothing cached), the median of several. A frame is the time between two calls of requestAnimationFrame
while the map is dragged, or zoomed by the wheel, with every frame. Headless Chromium without a GPU draws in software,
on the same cores as all else: a machine with one is faster.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import subprocess
import sys
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.mapping import MadeUp, serve
from tests.running import ROOT, running_site

PAINTS = 5
FRAMES = 90
MEMORY = "performance.memory.usedJSHeapSize / 2 ** 20"
DRAWN = "performance.getEntriesByName('map-drawn')[0]?.startTime ?? 0"
MOVE = """async ([kind, frames]) => {
  const map = document.querySelector("#overlay");
  const box = map.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const say = (type, dx, more = {}) => map.dispatchEvent(new PointerEvent(type,
    { pointerId: 1, pointerType: "mouse", button: 0, clientX: x + dx, clientY: y, bubbles: true, ...more }));
  const here = { clientX: x, clientY: y, cancelable: true };
  const turn = (deltaY) => map.dispatchEvent(new WheelEvent("wheel", { deltaY, ...here }));
  map.setPointerCapture = () => {};
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const times = [];
  if (kind === "pan") say("pointerdown", 0);
  let before = await frame();
  for (let number = 1; number <= frames; number += 1) {
    if (kind === "pan") say("pointermove", 90 * Math.sin(number / 9));
    else turn(number % 60 < 30 ? -40 : 40);
    const now = await frame();
    times.push(now - before);
    before = now;
  }
  if (kind === "pan") say("pointerup", 0);
  return times;
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="*", type=int, default=[20_000, 100_000], help="letters on the map")
    asked = parser.parse_args()
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with running_site() as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
        for count in asked.points:
            _measure(browser, site.base_url, MadeUp(emnist=count, collected=100))
        browser.close()


def _chromium() -> str:
    asked = [sys.executable, str(ROOT / "scripts" / "browser.py"), "--present"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _measure(browser: Browser, url: str, made: MadeUp) -> None:
    sent = made.bytes_of(slice(0, made.emnist))
    print(f"\n{made.emnist:,} letters, {len(sent):,} bytes, {len(gzip.compress(sent, 6)):,} compressed")
    paints = [_paint(browser, url, made) for _ in range(PAINTS)]
    print(
        f"  first paint   {statistics.median(paints):6.0f} ms   (of {PAINTS}: {min(paints):.0f} to {max(paints):.0f})"
    )
    page = _open(browser, url, made)
    for kind in ("pan", "zoom"):
        times: list[float] = page.evaluate(MOVE, [kind, FRAMES])
        tail = statistics.quantiles(times, n=20)[-1]
        print(f"  {kind:<5} a frame {statistics.median(times):6.1f} ms   (19 of 20 under {tail:.1f})")
    print(f"  JavaScript's memory {page.evaluate(MEMORY):.0f} MB")
    page.context.close()


def _open(browser: Browser, url: str, made: MadeUp) -> Page:
    context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    serve(page, made)
    page.goto("/explore/")
    page.wait_for_selector('#atlas[data-state="ready"]', timeout=60_000)
    return page


def _paint(browser: Browser, url: str, made: MadeUp) -> float:
    page = _open(browser, url, made)
    drawn: Any = 0
    while not drawn:
        drawn = page.evaluate(DRAWN)
    page.context.close()
    return float(drawn)


if __name__ == "__main__":
    main()
