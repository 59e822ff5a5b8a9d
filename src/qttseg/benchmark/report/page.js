"use strict";
// Filters, sorting and charts. Every element that is about a method, dataset or budget says so in its data- attributes.
const NOUNS = ["method", "dataset", "budget"];
const dark = matchMedia("(prefers-color-scheme: dark)");

function chartTheme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    labelColor: colour("--quiet"), titleColor: colour("--quiet"), gridColor: colour("--line"),
    domainColor: colour("--line"), tickColor: colour("--line"), titleFontWeight: "normal", labelFontSize: 12, titleFontSize: 12,
  };
  return { background: "transparent", axis, rule: { color: colour("--ink") }, view: { stroke: null }, font: getComputedStyle(document.body).fontFamily };
}

function setUpSection(section) {
  const boxes = [...section.querySelectorAll("[data-filter] input")];
  const charts = [...section.querySelectorAll(".chart")];
  let views = [];

  const ticked = () => Object.fromEntries(NOUNS.map((noun) => [
    noun,
    new Set(boxes.filter((box) => box.checked && box.closest("[data-filter]").dataset.filter === noun).map((box) => box.value)),
  ]));

  function updateCharts(chosen) {
    const budgets = [...chosen.budget];
    const largest = Math.max(0, ...budgets.map(parseFloat));
    for (const { view, row } of views) {
      if (row) view.height(row * Math.max(1, chosen.dataset.size));
      view.signal("methods", [...chosen.method]).signal("datasets", [...chosen.dataset]);
      view.signal("budgets", budgets).signal("largest", largest).runAsync();
    }
  }

  function filter() {
    const chosen = ticked();
    for (const element of section.querySelectorAll(NOUNS.map((noun) => `[data-${noun}]`).join())) {
      element.hidden = NOUNS.some((noun) => noun in element.dataset && !chosen[noun].has(element.dataset[noun]));
    }
    const rows = [...section.querySelectorAll(".jobs tbody")];
    const shown = rows.filter((row) => !row.hidden).length;
    section.querySelector(".count").textContent = `${shown} of ${rows.length} results`;
    updateCharts(chosen);
  }

  async function drawCharts() {
    views.forEach(({ view }) => view.finalize());
    const config = chartTheme();
    const tooltip = { theme: dark.matches ? "dark" : "light" };
    views = await Promise.all(charts.map(async (chart) => {
      const specification = JSON.parse(chart.parentElement.querySelector(".specification").textContent);
      const { view } = await vegaEmbed(chart, specification, { actions: false, renderer: "svg", config, tooltip });
      return { view, row: specification.usermeta?.row };
    }));
    updateCharts(ticked());
  }

  section.addEventListener("change", (event) => {
    if (event.target.closest("[data-filter]")) filter();
    if (event.target.matches(".masks-only")) section.classList.toggle("masks", event.target.checked);
  });
  section.addEventListener("click", (event) => {
    const quick = event.target.dataset.quick;
    if (!quick) return;
    for (const box of boxes.filter((box) => box.dataset.task)) box.checked = quick === "all" || box.dataset.task === quick;
    filter();
  });
  if (matchMedia("(max-width: 640px)").matches) section.querySelector(".filters").open = false;
  filter();
  return drawCharts;
}

// Numbers before texts, what is missing last, whichever way; a table's bodies are what is sorted.
function sortTable(button) {
  const head = button.closest("th");
  const table = head.closest("table");
  const place = head.cellIndex;
  const rising = head.getAttribute("aria-sort") === "descending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const key = (body) => {
    const cell = body.rows[0].cells[place];
    if (cell.dataset.value !== undefined) return parseFloat(cell.dataset.value);
    const text = cell.textContent.trim();
    return text === "–" ? null : text;
  };
  const order = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const difference = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return rising ? difference : -difference;
  };
  const bodies = [...table.tBodies].map((body) => [key(body), body]).sort((a, b) => order(a[0], b[0]));
  for (const [, body] of bodies) table.insertBefore(body, table.tFoot);
}

document.addEventListener("click", (event) => {
  if (event.target.matches(".sort")) sortTable(event.target);
});

const sections = [...document.querySelectorAll(".section")];
const draw = new Map(sections.map((section) => [section.id, setUpSection(section)]));
const conditions = document.getElementById("conditions");

function show() {
  const id = conditions ? conditions.value : sections[0].id;
  for (const section of sections) section.hidden = section.id !== id;
  return draw.get(id)(); // a hidden chart has no width, so it is drawn when it is shown
}

if (conditions) conditions.addEventListener("change", show);
dark.addEventListener("change", show);
show().then(() => { document.documentElement.dataset.ready = "yes"; });
