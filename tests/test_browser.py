"""The page in a real browser: its width, its pictures, its errors. Needs Chromium, which CI has."""

import json
import os
import re
import shutil
import subprocess
from html import unescape

import pytest
from test_report import write_tables

from optimlab.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
    *("--allow-file-access-from-files", "--virtual-time-budget=10000", "--window-size=1400,1000"),
    "--enable-logging=stderr",
]

# A frame as wide as the screen to be tried, and what can be seen from outside once it has loaded.
FRAME = """<!doctype html><pre id="seen"></pre>
<iframe id="page" src="report.html" style="width:{width}px;height:900px;border:0"></iframe>
<script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument;
  page.querySelectorAll("details").forEach(details => details.open = true);
  const pictures = [...page.images];
  setTimeout(() => {{  // by then the pictures of the opened details are there
    document.getElementById("seen").textContent = JSON.stringify({{
      inner: page.documentElement.clientWidth,
      scroll: page.documentElement.scrollWidth,
      pictures: pictures.map(picture => picture.naturalWidth),
      fetched: frame.contentWindow.performance.getEntriesByType("resource")
        .map(entry => entry.name).filter(name => !name.startsWith("data:")),
      heading: page.querySelector("h1").innerText,
      cells: page.querySelector("table").innerText,
    }});
  }}, 1000);
}});
</script>"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    labels = ("SGD", "Adam", "An optimizer with quite a long name of its own")
    write_tables(results / "digits", labels=labels, title="Wide <b>words</b> " + "and " * 30)
    write_report(results)
    return results


def see(results, width, profile):
    """Return what a browser shows of the page in a frame of this width."""
    frame = results / f"frame{width}.html"
    frame.write_text(FRAME.format(width=width))
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    seen = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert seen, done.stderr
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return {**json.loads(unescape(seen.group(1))), "console": console}


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="there is no Chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_the_screen_and_fetches_nothing(results, tmp_path, width):
    seen = see(results, width, tmp_path)
    assert seen["console"] == []
    assert seen["fetched"] == []
    assert seen["inner"] == pytest.approx(width, abs=20)  # less a scroll bar
    assert seen["scroll"] <= seen["inner"]
    assert len(seen["pictures"]) >= 4
    assert all(seen["pictures"])
    assert "<b>words</b>" in seen["heading"]
    assert "Adam" in seen["cells"]
