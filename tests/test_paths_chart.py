"""The chart of paths over contours: its data and its slider."""

import html
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from optimlab.optimizers import SGD, Adam
from optimlab.problems import Landscape
from optimlab.report.blocks.paths_chart import RATIO, Scene, contour_lines, paths_chart
from optimlab.report.figures.landscapes import Surface, landscape_surface
from optimlab.report.style import series_styles
from optimlab.report.vega import Palette
from optimlab.training import train

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LABELS = ["Gradient descent", "Adam"]


def scene(function):
    landscape = Landscape(function=function)
    tables = []
    for label, optimizer in zip(LABELS, (SGD(momentum=0.0), Adam(learning_rate=0.1)), strict=True):
        recording = train(landscape, optimizer, [0], range(1, 21))
        columns = {name: recording.metrics[name][:, 0] for name in ("x", "y", "train_loss")}
        tables.append(pd.DataFrame({"optimizer": label, "step": recording.steps, **columns}))
    paths = pd.concat(tables, ignore_index=True)
    return Scene(landscape_surface(landscape, paths, RATIO), paths, landscape.view)


@pytest.fixture(scope="module")
def chart():
    scenes = {"a ravine": scene("ravine"), 'the "monkey"': scene("monkey_saddle")}
    (chart,) = paths_chart(
        scenes, Palette(series_styles(LABELS)), name="paths", heading="Paths", caption="x"
    )
    return chart


def test_the_tables_hold_every_path_of_every_scene(chart):
    paths = chart.tables["paths"]
    assert paths.groupby(["scene", "optimizer"]).size().to_dict() == {
        (scene, label): 21 for scene in (0, 1) for label in LABELS
    }
    assert chart.tables["marks"].groupby(["scene", "shape"]).size().to_dict() == {
        (0, "minimum"): 1,
        (1, "minimum"): 3,
        (1, "saddle"): 1,
    }
    params = {param["name"]: param for param in chart.spec["params"]}
    assert params["step"]["bind"]["max"] == params["step"]["value"] == 20
    assert params["scene"]["bind"]["options"] == ["a ravine", 'the "monkey"']


def test_one_scene_is_no_choice():
    (chart,) = paths_chart(
        {"only": scene("beale")}, Palette(series_styles(LABELS)), name="p", heading="", caption=""
    )
    assert "bind" not in next(param for param in chart.spec["params"] if param["name"] == "scene")
    assert [table["scene"].max() for table in chart.tables.values()] == [0, 0, 0]
    assert not list(paths_chart({}, Palette({}), name="p", heading="", caption=""))


def test_contours_are_where_the_heights_are():
    x, y = np.linspace(-3, 3, 201), np.linspace(-2, 2, 201)
    nowhere = np.empty((0, 2))
    bowl = Surface(x, y, x**2 + y[:, None] ** 2, nowhere, nowhere)
    lines = contour_lines(bowl)
    radii = np.hypot(lines["x"], lines["y"]).groupby(lines["line"])
    assert (radii.max() - radii.min()).max() < 0.03
    assert radii.ngroups >= 8
    assert len(lines) < 201 * radii.ngroups / 2  # simplified


PAGE = """<!doctype html><meta charset="utf-8"><div id="view" style="width:800px"></div>
<pre id="seen"></pre>
<script>{bundle}</script><script>
(async () => {{
  const {{ view }} = await vegaEmbed("#view", {spec}, {{ ast: true, renderer: "svg" }});
  const dots = () => document.querySelectorAll("#view .mark-symbol path").length;
  const title = () => document.querySelector("#view .role-title-text").textContent;
  const seen = [[title(), dots()]];
  const changed = async (input, event) => {{
    input.dispatchEvent(new Event(event));
    await new Promise((done) => setTimeout(done, 200));
    await view.runAsync();
    seen.push([title(), dots()]);
  }};
  const slider = document.querySelector("#view input[type=range]");
  slider.value = 5;
  await changed(slider, "input");
  const choice = document.querySelector("#view select");
  choice.selectedIndex = 1;
  await changed(choice, "change");
  document.getElementById("seen").textContent = JSON.stringify(seen);
}})();
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="there is no Chromium")
def test_the_slider_moves_all_paths_in_a_browser(chart, tmp_path):
    from vl_convert import javascript_bundle

    tables = {name: table.to_dict("records") for name, table in chart.tables.items()}
    spec = json.dumps({**chart.spec, "datasets": tables}).replace("<", "\\u003c")
    bundle = javascript_bundle().replace("</script", "<\\/script")
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(bundle=bundle, spec=spec), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"]
    flags += ["--virtual-time-budget=10000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *flags, page.as_uri()], capture_output=True, text=True, timeout=300, check=True
    )
    assert not [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)[1]))
    titles, dots = zip(*seen, strict=True)
    assert titles == ("a ravine, step 20", "a ravine, step 5", 'the "monkey", step 5')
    assert dots[0] - dots[1] == 2 * 15  # a dot a step of each of the two
    assert dots[2] - dots[1] == 3  # three minima and a saddle in place of one minimum


def test_a_run_that_leaves_for_good_leaves_the_picture_alone():
    part = scene("ravine")
    far = part.paths.assign(x=part.paths["x"].where(part.paths["step"] < 10, 1e300))
    (chart,) = paths_chart(
        {"far": Scene(part.surface, far, part.view)},
        Palette(series_styles(LABELS)),
        name="p",
        heading="",
        caption="",
    )
    left, right, *_ = part.view
    shown = chart.tables["paths"]
    assert right < shown["x"].max() < right + 1000 * (right - left)  # SVG has no numbers above 10³⁸
    near = shown[shown["step"] < 10].reset_index(drop=True)
    assert near["x"].tolist() == far.loc[far["step"] < 10, "x"].tolist()
