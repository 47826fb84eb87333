// Draws each chart with Vega-Lite when it comes near the screen or is unfolded, and sorts the ranked tables.
"use strict";

const ROOM_FOR_AXES = 105; // pixels beside a part of a chart, a first guess; a chart of one part fits itself
const phone = window.matchMedia("(max-width: 44rem)"); // as in style.css

// Turns a table of columns into rows for Vega-Lite. A column is a list of numbers, or of codes that index its texts.
function rowsOf(table) {
  const infinite = new Map([["Infinity", Infinity], ["-Infinity", -Infinity]]);
  const columns = Object.entries(table).map(([name, column]) =>
    [name, column.texts ? column.codes.map((code) => column.texts[code])
      : column.map((value) => infinite.get(value) ?? value)]);
  return columns[0][1].map((_, row) => Object.fromEntries(columns.map(([name, values]) => [name, values[row]])));
}

// Reads a chart: JSON, compressed by gzip, in base64.
function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

// Makes a table of a tooltip's [name, text] pairs, without those that have no text.
function tooltipTable(lines, escaped) {
  const rows = lines.filter(([, text]) => text !== "" && text != null).map(([name, text]) =>
    `<tr><td class="key">${escaped(name)}</td><td class="value">${escaped(text)}</td></tr>`);
  return `<table><tbody>${rows.join("")}</tbody></table>`;
}

// Where each optimizer has a check box, a click on an entry of the legend sets the boxes.
const hasBoxes = (spec) => spec.params?.some(({ name }) => name === "show_0");
function clickableLegend(vega) {
  const part = { interactive: true, update: { cursor: { value: "pointer" } } };
  for (const legend of vega.legends ?? [])
    for (const name of ["labels", "symbols"])
      (legend.encode ??= {})[name] = { ...part, ...legend.encode[name], update: { ...legend.encode[name]?.update, ...part.update } };
  return vega;
}
function followLegend(view) {
  view.addEventListener("click", (_, item) => {
    if (!item?.mark?.role?.startsWith("legend-")) return;
    const labels = view.signal("labels");
    const shown = labels.map((_, index) => view.signal(`show_${index}`));
    const isAll = shown.every(Boolean);
    const wanted = labels.map((label, index) => label === item.datum.value ? isAll || !shown[index] : !isAll && shown[index]);
    const isNone = !wanted.some(Boolean);
    labels.forEach((_, index) => view.signal(`show_${index}`, isNone || wanted[index]));
    view.runAsync();
  });
}

// Shows the signal <name>_text beside the slider <name>, if there is one, instead of the slider's number.
function labelSliders(view, spec, container) {
  for (const slider of container.querySelectorAll("input[type='range']")) {
    const name = `${slider.name}_text`;
    if (!spec.params.some((param) => param.name === name)) continue;
    const label = document.createElement("span");
    slider.nextElementSibling.replaceWith(label); // Vega keeps writing the number into the replaced element
    const update = () => {
      label.textContent = view.signal(name);
      slider.setAttribute("aria-valuetext", label.textContent);
    };
    view.addSignalListener(name, update);
    update();
  }
}

// Makes a chart as wide as its container, without drawing it again, so that the reader's choices are kept.
const widthOf = (container) => container.clientWidth - parseFloat(getComputedStyle(container).paddingRight);
async function fit(figure) {
  const { view, room, hasParts } = figure.drawn;
  const container = figure.querySelector(".view"), drawing = container.querySelector("svg.marks");
  view.signal("narrow", phone.matches);
  if (!hasParts) view.height(room[phone.matches ? 1 : 0]);
  await view.resize().runAsync(); // labels that are turned to fit need a second layout
  for (let round = 0; hasParts && round < 5; round++) { // the room for labels may depend on the width
    const excess = Math.ceil(drawing.width.baseVal.value - widthOf(container));
    if (!excess) break;
    await view.width(Math.max(100, view.width() - excess)).resize().runAsync();
  }
}

async function draw(figure) {
  const container = figure.querySelector(".view");
  const { spec, tables, room } = await unpacked(figure.querySelector("script").textContent);
  for (const name in tables) (spec.datasets ??= {})[name] = rowsOf(tables[name]);
  for (const part of spec.vconcat ?? []) part.width = Math.max(100, widthOf(container) - ROOM_FOR_AXES);
  if (!spec.vconcat) spec.height = room[phone.matches ? 1 : 0];
  const { view } = await vegaEmbed(container, spec, {
    actions: { export: true, source: false, compiled: false, editor: false },
    ast: true, // expressions are interpreted, so that the page need not allow eval
    downloadFileName: figure.id,
    logLevel: 1, // errors only: Vega warns of empty layers, which are normal here
    patch: (vega) => hasBoxes(spec) ? clickableLegend(vega) : vega,
    renderer: "svg",
    scaleFactor: { png: 2, svg: 1 },
    tooltip: { formatTooltip: tooltipTable, theme: window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" },
  });
  figure.drawn = { view, room, hasParts: !!spec.vconcat };
  if (hasBoxes(spec)) followLegend(view);
  labelSliders(view, spec, container);
  container.querySelector("summary")?.setAttribute("aria-label", "Save this chart");
  await fit(figure);
  figure.view = view;
}

// Shows the static figure, as without JavaScript, where the browser lacks what the charts need.
function fallBack(figure) {
  figure.querySelector(".view").innerHTML = figure.querySelector("noscript").textContent;
}

async function show(figure) {
  const container = figure.querySelector(".view");
  container.style.minHeight = `${container.offsetHeight}px`; // keep the layout still while it is empty
  try {
    await draw(figure);
  } catch (error) {
    fallBack(figure);
    console.error(error);
  } finally {
    container.style.minHeight = "";
  }
}

const figures = [...document.querySelectorAll("figure.chart")];
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) showOnce(target);
}, { rootMargin: "800px" });

function showOnce(figure) {
  near.unobserve(figure);
  return (figure.ready ??= show(figure));
}

const idle = (work) => // within 200 ms even if the browser is never idle
  window.requestIdleCallback ? requestIdleCallback(work, { timeout: 200 }) : setTimeout(work, 200);
const isFolded = (figure) => figure.closest("details:not([open])");
const showRest = async () => {
  for (const figure of figures) if (!isFolded(figure)) { await showOnce(figure); await new Promise(idle); }
};
if (window.DecompressionStream) {
  figures.forEach((figure) => near.observe(figure));
  window.addEventListener("load", () => idle(showRest));
  window.addEventListener("beforeprint", () => figures.filter((figure) => !isFolded(figure)).forEach(showOnce));
} else {
  figures.forEach(fallBack);
}
let widthDrawn = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === widthDrawn) return; // only the height changed: a phone hid its bars, or a printer
  widthDrawn = window.innerWidth;
  for (const figure of figures) if (figure.view && !isFolded(figure)) fit(figure);
});
for (const details of document.querySelectorAll("details.problem"))
  details.addEventListener("toggle", () => { // fit what was resized while folded
    for (const figure of details.querySelectorAll("figure.chart")) if (figure.view && details.open) fit(figure);
  });

function sort(table, column, direction) {
  const heads = [...table.tHead.rows[0].cells];
  const value = (row) => row.cells[column].dataset.value;
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [first, second] = [value(a), value(b)];
    const numbers = [Number(first), Number(second)];
    const order = numbers.some(Number.isNaN) ? first.localeCompare(second) : numbers[0] - numbers[1] || 0;
    return direction === "ascending" ? order : -order;
  });
  heads.forEach((head, index) => {
    if (index === column) head.setAttribute("aria-sort", direction);
    else head.removeAttribute("aria-sort");
  });
  table.tBodies[0].append(...rows);
}

const opposite = { ascending: "descending", descending: "ascending" };
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () =>
      sort(table, column, opposite[head.getAttribute("aria-sort")] ?? head.dataset.direction));
  });
  const list = document.getElementById(`${table.id}-order`);
  list?.addEventListener("change", () => sort(table, Number(list.value), list.selectedOptions[0].dataset.direction));
}
