// Shows each chart when it comes near the screen or is unfolded, and sorts the ranked tables. Vega-Lite does the drawing.
"use strict";

const ROOM_FOR_AXES = 105; // pixels beside a part of a chart, at first; a whole chart finds its width by itself
const phone = window.matchMedia("(max-width: 44rem)"); // as in style.css

// A table has a list for each column, of numbers, or of the places of its texts; Vega-Lite wants rows.
function rowsOf(table) {
  const endless = new Map([["Infinity", Infinity], ["-Infinity", -Infinity]]);
  const columns = Object.entries(table).map(([name, column]) =>
    [name, column.texts ? column.places.map((place) => column.texts[place])
      : column.map((value) => endless.get(value) ?? value)]);
  return columns[0][1].map((_, row) => Object.fromEntries(columns.map(([name, values]) => [name, values[row]])));
}

// A chart comes as JSON, compressed: gzip in base64.
function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

// A tooltip comes as pairs of a name and a text; what has no text is left out.
function tooltipTable(lines, escaped) {
  const rows = lines.filter(([, text]) => text !== "" && text != null).map(([name, text]) =>
    `<tr><td class="key">${escaped(name)}</td><td class="value">${escaped(text)}</td></tr>`);
  return `<table><tbody>${rows.join("")}</tbody></table>`;
}

// The entries of a legend can be clicked where each optimizer has a check box: a click sets the boxes.
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
    const shown = labels.map((_, place) => view.signal(`show_${place}`));
    const isAll = shown.every(Boolean);
    const wanted = labels.map((label, place) => label === item.datum.value ? isAll || !shown[place] : !isAll && shown[place]);
    const isNone = !wanted.some(Boolean);
    labels.forEach((_, place) => view.signal(`show_${place}`, isNone || wanted[place]));
    view.runAsync();
  });
}

// A slider <name> says what the signal <name>_text does, where there is one, and else its number.
function sayInWords(view, spec, place) {
  for (const slider of place.querySelectorAll("input[type='range']")) {
    const name = `${slider.name}_text`;
    if (!spec.params.some((param) => param.name === name)) continue;
    const words = document.createElement("span");
    slider.nextElementSibling.replaceWith(words); // Vega keeps writing the number to the one that is gone
    const say = () => {
      words.textContent = view.signal(name);
      slider.setAttribute("aria-valuetext", words.textContent);
    };
    view.addSignalListener(name, say);
    say();
  }
}

// Makes a chart as wide as there is room. All that a reader has chosen stays, since nothing is drawn anew.
const widthOf = (place) => place.clientWidth - parseFloat(getComputedStyle(place).paddingRight);
async function fit(figure) {
  const { view, room, hasParts } = figure.drawn;
  const place = figure.querySelector(".view"), drawing = place.querySelector("svg.marks");
  view.signal("narrow", phone.matches);
  if (!hasParts) view.height(room[phone.matches ? 1 : 0]);
  await view.resize().runAsync(); // labels that turn for want of room need a second layout
  for (let round = 0; hasParts && round < 5; round++) { // the room for labels may depend on the width
    const excess = Math.ceil(drawing.width.baseVal.value - widthOf(place));
    if (!excess) break;
    await view.width(Math.max(100, view.width() - excess)).resize().runAsync();
  }
}

async function draw(figure) {
  const place = figure.querySelector(".view");
  const { spec, tables, room } = await unpacked(figure.querySelector("script").textContent);
  for (const name in tables) (spec.datasets ??= {})[name] = rowsOf(tables[name]);
  for (const part of spec.vconcat ?? []) part.width = Math.max(100, widthOf(place) - ROOM_FOR_AXES);
  if (!spec.vconcat) spec.height = room[phone.matches ? 1 : 0];
  const { view } = await vegaEmbed(place, spec, {
    actions: { export: true, source: false, compiled: false, editor: false },
    ast: true, // expressions are interpreted, so that the page need not allow eval
    downloadFileName: figure.id,
    logLevel: 1, // errors: a layer that shows nothing is no news
    patch: (vega) => hasBoxes(spec) ? clickableLegend(vega) : vega,
    renderer: "svg",
    scaleFactor: { png: 2, svg: 1 },
    tooltip: { formatTooltip: tooltipTable, theme: window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" },
  });
  figure.drawn = { view, room, hasParts: !!spec.vconcat };
  if (hasBoxes(spec)) followLegend(view);
  sayInWords(view, spec, place);
  place.querySelector("summary")?.setAttribute("aria-label", "Save this chart");
  await fit(figure);
  figure.view = view;
}

// Without what the charts need there is the static figure, as without JavaScript.
function giveUp(figure) {
  figure.querySelector(".view").innerHTML = figure.querySelector("noscript").textContent;
}

async function show(figure) {
  const place = figure.querySelector(".view");
  place.style.minHeight = `${place.offsetHeight}px`; // it keeps its room while it is empty
  try {
    await draw(figure);
  } catch (error) {
    giveUp(figure);
    console.error(error);
  } finally {
    place.style.minHeight = "";
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

const idle = (work) => // soon even where the browser is never idle
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
  figures.forEach(giveUp);
}
let widthDrawn = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === widthDrawn) return; // a phone hides its bars, a printer changes the height
  widthDrawn = window.innerWidth;
  for (const figure of figures) if (figure.view && !isFolded(figure)) fit(figure);
});
for (const details of document.querySelectorAll("details.problem"))
  details.addEventListener("toggle", () => { // what was resized while it was folded
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
  heads.forEach((head, place) => {
    if (place === column) head.setAttribute("aria-sort", direction);
    else head.removeAttribute("aria-sort");
  });
  table.tBodies[0].append(...rows);
}

const turned = { ascending: "descending", descending: "ascending" };
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () =>
      sort(table, column, turned[head.getAttribute("aria-sort")] ?? head.dataset.direction));
  });
  const list = document.getElementById(`${table.id}-order`);
  list?.addEventListener("change", () => sort(table, Number(list.value), list.selectedOptions[0].dataset.direction));
}
