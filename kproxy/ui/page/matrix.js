// The matrix: who reaches which address of a Service, filling up while it is measured; and what
// has changed since the measurement before.

import { $, h, oncePerFrame, rove } from "./dom.js";
import { all, ask, entities, hostPort, onChange } from "./lab.js";

const panel = $("matrix");
const SIGNS = { answered: "✓", refused: "✕", lost: "∅", waiting: "·", absent: "" };
const WORDS = { answered: "answered", refused: "refused", lost: "no answer", waiting: "not measured yet", absent: "not there" };
let onAsk = () => {};
let lines = new Map(); // row -> its cells' elements
let shape = "";

export function startMatrix(asked) {
  onAsk = asked;
  const redraw = oncePerFrame(draw);
  onChange((names) => {
    for (const name of names.keys()) if (name === "matrix" || name.startsWith("row/")) return redraw();
  });
  rove(panel, "td button", (current, key) => {
    const cell = current.closest("td");
    const row = cell.parentElement;
    const column = [...row.cells].indexOf(cell);
    const within = (line, way) => {
      while (line && !line.querySelector("button")) line = line[way]; // the name of a Service
      return line?.cells[column]?.querySelector("button");
    };
    switch (key) {
      case "ArrowRight": return cell.nextElementSibling?.querySelector("button");
      case "ArrowLeft": return cell.previousElementSibling?.querySelector("button");
      case "ArrowDown": return within(row.nextElementSibling, "nextElementSibling");
      case "ArrowUp": return within(row.previousElementSibling, "previousElementSibling");
    }
  });
  panel.addEventListener("focusin", (event) => event.target.dataset.row && describe(event.target));
  panel.addEventListener("pointerover", (event) => event.target.dataset?.row && describe(event.target));
  draw();
}

async function measure() {
  try {
    await ask("measure");
  } catch (error) {
    panel.querySelector(".status").textContent = error.message;
  }
}

// Measures, and returns when all is measured as it is now: if another browser has begun before us,
// ours is the measurement after that.
export async function measured() {
  const { number } = await ask("measure");
  await new Promise((resolve) => {
    const look = () => {
      const matrix = entities.get("matrix");
      if (!matrix || matrix.number < number || matrix.running) return;
      forget();
      resolve();
    };
    const forget = onChange(look);
    look();
  });
}

const rowsInOrder = () => all("row").map(([, each]) => each).sort((a, b) => a.place - b.place);

function draw() {
  const matrix = entities.get("matrix");
  const rows = rowsInOrder();
  const wanted = JSON.stringify([matrix?.clients, rows.map((row) => row.id)]);
  if (wanted !== shape || !panel.firstElementChild) build(matrix, rows, wanted);
  if (!matrix) return;
  let [measured, total, unlike] = [0, 0, 0];
  const changed = [];
  for (const row of rows) {
    for (const client of matrix.clients) {
      const cell = row.cells[client];
      total++;
      if (cell.state !== "waiting") measured++;
      if (cell.problems?.length) unlike++;
      fill(lines.get(row.id).get(client), row, client, cell);
      if (differs(cell)) changed.push([row, client, cell]);
    }
  }
  const said = matrix.error || `${measured} of ${total} measured${unlike ? `, ${unlike} not as predicted` : ""}${matrix.running ? "…" : ""}`;
  $("matrix-status").setAttribute("aria-busy", matrix.running); // or each row would be read out
  $("matrix-status").dataset.number = matrix.number;
  $("matrix-status").textContent = said;
  $("matrix-progress").max = Math.max(total, 1);
  $("matrix-progress").value = measured;
  $("measure").disabled = matrix.running;
  $("measure").textContent = matrix.running ? "Measuring…" : "Measure again";
  differences(matrix, changed);
}

// Which of several endpoints answers is chance: what may answer, and is seen there, is predicted.
const same = (a, b) => a.state === b.state &&
  (a.expected && b.expected ? a.expected === b.expected : a.source === b.source);
const differs = (cell) => cell.before && cell.state !== "waiting" && cell.state !== "absent" &&
  !same(cell, cell.before);

function build(matrix, rows, wanted) {
  shape = wanted;
  lines = new Map();
  const body = h("tbody");
  let service = "";
  for (const row of rows) {
    if (row.service !== service) {
      service = row.service;
      body.append(h("tr", { class: "group" }, h("th", { colSpan: matrix.clients.length + 1, scope: "rowgroup" }, h("span", {}, service.replace(/^default\//, "")))));
    }
    const cells = new Map();
    for (const client of matrix.clients) {
      cells.set(client, h("button", { type: "button", tabIndex: -1, dataset: { row: row.id, client }, onclick: () => onAsk(client, row) }));
    }
    lines.set(row.id, cells);
    body.append(h("tr", {}, h("th", { scope: "row" }, h("span", {}, `${hostPort(row.address, row.port)}${row.protocol === "TCP" ? "" : `/${row.protocol}`}`), h("em", { title: row.node }, row.node ? `node port ${row.node}` : row.via)),
      [...cells.values()].map((button) => h("td", {}, button))));
  }
  const first = body.querySelector("td button");
  if (first) first.tabIndex = 0;
  panel.replaceChildren(
    h("div", { class: "bar" },
      h("button", { id: "measure", type: "button", class: "primary", onclick: measure }, "Measure"),
      h("progress", { id: "matrix-progress", value: 0, "aria-label": "Measured" }),
      h("span", { id: "matrix-status", class: "status", role: "status" }, rows.length ? "" : "Who reaches which Service from where: measured with real packets.")),
    h("div", { id: "differences" }),
    rows.length ? h("p", { id: "cell", class: "cell" }, "✓ answered, ✕ refused, ∅ no answer. Enter on a cell shows the packet's way.") : "",
    rows.length ? h("div", { class: "grid" }, h("table", { class: "matrix" },
      h("thead", {}, h("tr", {}, h("td"), matrix.clients.map((client) => h("th", { scope: "col" }, h("span", { title: client }, client))))),
      body)) : "");
}

function fill(button, row, client, cell) {
  const state = `${cell.state}${cell.problems?.length ? " unlike" : ""}${differs(cell) ? " changed" : ""}${cell.copied ? " copied" : ""}`;
  if (button.className === state) return;
  button.className = state;
  button.replaceChildren(h("b", {}, SIGNS[cell.state]), cell.problems?.length ? h("i", {}, "!") : "");
  button.setAttribute("aria-label", `${client} to ${hostPort(row.address, row.port)}: ${words(cell)}`);
}

const words = (cell) => (cell.state === "answered" ? `${cell.answered} answers, sees ${cell.source}` : cell.answered || WORDS[cell.state]);

function describe(button) {
  const row = entities.get(`row/${button.dataset.row}`);
  const cell = row?.cells[button.dataset.client];
  if (!cell) return;
  $("cell").replaceChildren(
    h("b", {}, `${button.dataset.client} → ${hostPort(row.address, row.port)} `), words(cell), cell.why ? `. ${cell.why}` : "",
    ...(cell.problems ?? []).map((each) => h("span", { class: "problem" }, ` ${each}`)));
}

function differences(matrix, changed) {
  const place = $("differences");
  if (matrix.number < 2) return place.replaceChildren();
  if (!changed.length) {
    return place.replaceChildren(matrix.running ? "" : h("p", { class: "hint" }, "Nothing is different from the measurement before."));
  }
  const shown = (cell) => h("td", { class: cell.state }, h("b", {}, SIGNS[cell.state]), ` ${words(cell)}`);
  place.replaceChildren(h("h3", {}, `What is different (${changed.length})`),
    h("div", { class: "scroll" }, h("table", { class: "changes" },
      h("thead", {}, h("tr", {}, ["who → where", "before", "now"].map((each) => h("th", { scope: "col" }, each)))),
      h("tbody", {}, changed.slice(0, 200).map(([row, client, cell]) => h("tr", {},
        h("th", { scope: "row" }, `${client} → ${hostPort(row.address, row.port)}`), shown(cell.before), shown(cell)))))));
}
