// What happens in the lab, the newest first: its Events, and changes of what the picture shows.

import { $, arrange, h, oncePerFrame } from "./dom.js";
import { all, entities, kindOf, onChange } from "./lab.js";

const MOST = 200;
const panel = $("events");
const list = h("ul", { class: "events" });
const kept = new Map();
const seen = []; // changes that the page saw: [number, {time, type, about, text}]
let number = 0;

export function startEvents() {
  const redraw = oncePerFrame(draw);
  onChange((names) => {
    for (const [name, was] of names) note(name, was);
    if (!panel.hidden) redraw();
  });
  draw();
}

export const showEvents = () => draw();

// Notes what a change means to who looks at the picture.
function note(name, was) {
  const [kind, is] = [kindOf(name), entities.get(name)];
  if (!live || !["host", "service", "slice", "lab"].includes(kind)) return;
  const text = meaning(kind, was, is);
  if (!text) return;
  const what = { host: "Pod", service: "Service", slice: "Service", lab: "Lab" }[kind];
  const about = `${what} ${(kind === "slice" ? (is ?? was).service : (is ?? was).name).replace(/^default\//, "")}`;
  seen.unshift([++number, { time: new Date().toISOString(), type: "", about, text }]);
  seen.length = Math.min(seen.length, MOST);
}

let live = false;
export function liveNow() {
  live = true;
}

function meaning(kind, was, is) {
  if (kind === "lab") return was && is && was.mode !== is.mode ? `mode: ${was.mode} → ${is.mode}` : "";
  if (kind === "slice") {
    const ready = (each) => each?.endpoints.filter((one) => one.ready).length ?? 0;
    return ready(was) === ready(is) ? "" : `${ready(is)} endpoints ready (${(is ?? was).family}), before: ${ready(was)}`;
  }
  if (!was) return "is there";
  if (!is) return "is gone";
  if (kind === "host" && was.ready !== is.ready) return is.ready ? "is ready" : "is not ready";
  if (kind === "host" && !was.terminating && is.terminating) return "is ending";
  if (kind === "service") {
    const changed = Object.keys(is.policies).filter((field) => was.policies[field] !== is.policies[field]);
    return changed.map((field) => `${field}: ${was.policies[field] || "none"} → ${is.policies[field] || "none"}`).join(", ");
  }
  return "";
}

const latestFirst = ([, a], [, b]) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0);

function draw() {
  const found = [...all("event").reverse(), ...seen].sort(latestFirst).slice(0, MOST);
  arrange(list, found.map(([key, each]) => [key, (had) => (had?.told === each ? had : line(each))]), kept);
  const shown = found.length ? list : h("p", { class: "hint" }, "Nothing has happened yet.");
  if (panel.firstElementChild !== shown) panel.replaceChildren(shown);
}

const line = (each) => h("li", { class: each.type === "Warning" ? "warning" : "", told: each },
  h("time", {}, new Date(each.time).toLocaleTimeString("en-GB")), h("b", {}, each.about), ` ${each.reason ? `${each.reason}: ` : ""}${each.text}`);
