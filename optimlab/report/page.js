// Shows each chart when it comes near the screen or is unfolded, and sorts the ranked tables. Vega-Lite does the drawing.
"use strict";

const ROOM_FOR_AXES = 105; // pixels beside a part of a chart, at first; a whole chart finds its width by itself

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

// What a reader has chosen in a chart: the signals that have a control.
function choices(view) {
  const names = new Set([...view.container().querySelectorAll(".vega-bindings [name]")].map((each) => each.name));
  return view.getState({ signals: (name) => names.has(name), data: () => false, recurse: false });
}

async function show(figure) {
  const { spec, tables } = await unpacked(figure.querySelector("script").textContent);
  const chosen = figure.view && choices(figure.view);
  const place = figure.querySelector(".view");
  for (const name in tables) (spec.datasets ??= {})[name] = rowsOf(tables[name]);
  figure.room ??= ROOM_FOR_AXES;
  for (let isTooWide = true; isTooWide;) {
    for (const part of spec.vconcat ?? []) part.width = Math.max(100, place.clientWidth - figure.room);
    figure.shown?.finalize();
    figure.shown = await vegaEmbed(place, spec, {
      actions: { export: true, source: false, compiled: false, editor: false },
      ast: true, // expressions are interpreted, so that the page need not allow eval
      downloadFileName: figure.id,
      logLevel: 1, // errors: a layer that shows nothing is no news
      renderer: "svg",
      tooltip: { theme: window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" },
    });
    const drawing = place.querySelector("svg.marks");
    const excess = Math.ceil(drawing.width.baseVal.value - drawing.clientWidth);
    isTooWide = spec.vconcat && excess > 0 && figure.room === ROOM_FOR_AXES; // its labels are long: once more
    if (isTooWide) figure.room += excess;
  }
  figure.view = figure.shown.view;
  if (chosen) figure.view.setState(chosen);
  await figure.view.resize().runAsync(); // labels that turn for want of room need a second layout
}

const figures = [...document.querySelectorAll("figure.chart")];
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) showOnce(target);
}, { rootMargin: "800px" });

function showOnce(figure) {
  near.unobserve(figure);
  return (figure.ready ??= show(figure));
}

let widthDrawn = window.innerWidth;
const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 200));
const isFolded = (figure) => figure.closest("details:not([open])");
const showRest = async () => {
  for (const figure of figures) if (!isFolded(figure)) { await showOnce(figure); await new Promise(idle); }
};
figures.forEach((figure) => near.observe(figure));
window.addEventListener("load", () => idle(showRest));
window.addEventListener("beforeprint", () => figures.filter((figure) => !isFolded(figure)).forEach(showOnce));
window.addEventListener("resize", () => {
  if (window.innerWidth === widthDrawn) return; // a phone hides its bars, a printer changes the height
  widthDrawn = window.innerWidth;
  for (const figure of figures) if (figure.view && figure.classList.contains("parts")) show(figure);
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
