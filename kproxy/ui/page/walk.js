// The walk: a packet goes along the picture, with each rule beside it, and the sentence at the end.

import { $, h, motionless, svg } from "./dom.js";
import { hostPort } from "./lab.js";
import { elementOf, placeOf, restOf } from "./picture.js";

const MOVE_MS = 650;
const RULE_MS = 900;
const HOST_MS = 700;
const MOST_ON_A_HOST_MS = 4500;
const FRAMES = 24; // of a curve, which the compositor joins by straight lines
const SPEEDS = [0.5, 1, 2, 4];

const panel = $("walk");
const packet = $("packet");
const callout = $("callout");
const picture = $("picture");
const trails = $("trails");

let answer = null;
let moments = []; // {hop, step}: step -1 is the arrival
let now = -1;
let playing = false;
let speed = 1;
let timer = 0;
let moving = null;
let rows = [];
let trail = [];

export function startWalk() {
  empty();
  panel.addEventListener("keydown", (event) => {
    if (!answer || event.target.closest("select, input")) return;
    const done = { " ": toggle, ArrowRight: () => go(now + 1), ArrowLeft: () => go(now - 1), Home: () => go(0), End: () => go(moments.length - 1) }[event.key];
    if (!done || (event.key === " " && event.target.closest("button"))) return;
    event.preventDefault();
    if (event.key !== " ") pause();
    done();
  });
}

function empty() {
  panel.replaceChildren(
    h("p", { class: "hint" }, "Choose who asks, then a Service: click them in the picture, or use the fields above. ",
      "The packet then walks along the picture, with each rule that it meets."),
    h("dl", { class: "keys" },
      ...[["Arrow keys", "move in the picture"], ["Enter", "choose"], ["T", "ask the host itself"], ["Space", "stop and go on"], ["← →", "step by step"]]
        .flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])));
}

export function waiting(text) {
  stop();
  panel.replaceChildren(h("p", { class: "hint", role: "status" }, text));
}

export function failed(text) {
  stop();
  panel.replaceChildren(h("p", { class: "problem", role: "alert" }, text));
}

export function show(found) {
  stop();
  answer = found;
  moments = found.hops.flatMap((hop, i) => [{ hop: i, step: -1 }, ...hop.steps.map((_, step) => ({ hop: i, step })).filter(({ step }) => isTelling(hop.steps[step]))]);
  rows = found.hops.map(hopRow);
  const { question } = found;
  panel.replaceChildren(
    h("h2", {}, `${question.from} → ${hostPort(question.address, question.port)} ${question.protocol}`),
    h("p", { class: `sentence ${outcome(found)}`, role: "status" }, h("b", {}, label(found)), ` ${found.sentence}`),
    controls(),
    h("ol", { class: "hops" }, rows.map((row) => row.element)));
  playing = true;
  go(0);
}

const outcome = (found) => ({ delivered: "good", success: "good", refused: "bad" })[found.outcome] ?? "bad";
const label = (found) => `${found.outcome[0].toUpperCase()}${found.outcome.slice(1)} at ${found.at}.`;

// A rule that only hands on to the next one is in the list, but nothing to stop at.
const isTelling = (step) => step.effect !== "";

function controls() {
  const button = (id, text, name, act) => h("button", { id, type: "button", "aria-label": name, title: name, onclick: act }, text);
  const faster = h("select", { "aria-label": "Speed", onchange: () => (speed = Number(faster.value)) },
    SPEEDS.map((each) => h("option", { value: each, selected: each === speed }, `${each}×`)));
  return h("div", { class: "controls", role: "group", "aria-label": "The walk" },
    button("first", "|◀", "To the start", () => (pause(), go(0))),
    button("back", "◁", "A step back", () => (pause(), go(now - 1))),
    button("play", "❚❚", "Stop", toggle),
    button("next", "▷", "A step on", () => (pause(), go(now + 1))),
    button("last", "▶|", "To the end", () => (pause(), go(moments.length - 1))),
    h("progress", { id: "progress", max: Math.max(1, moments.length - 1), value: 0, "aria-label": "The way so far" }),
    faster);
}

const ends = (flow) => `${hostPort(flow.source, flow.source_port)} → ${hostPort(flow.destination, flow.destination_port)}`;

// What a host knows of the packet besides its rules, in words.
const FACTS = {
  ipvs: (each) => `${each.virtual_server} → ${each.real_server} (${each.scheduler})`,
  conntrack: (each) => `${each.state}, ${ends(each.original)}; an answer: ${ends(each.reply)}`,
  route: (each) => each.problem || [each.kind, each.via && `via ${each.via}`, each.dev && `dev ${each.dev}`].filter(Boolean).join(" "),
};

function hopRow(hop, number) {
  const changed = ["source", "destination"].filter((end) => hop.before[end] !== hop.after[end] || hop.before[`${end}_port`] !== hop.after[`${end}_port`]);
  const at = (flow, end) => hostPort(flow[end], flow[`${end}_port`]);
  const steps = hop.steps.map((step) => h("li", { class: isTelling(step) ? "step" : "step minor" },
    h("span", { class: "where" }, [step.hook, step.table, step.chain].filter(Boolean).join(" ")),
    step.verdict ? h("span", { class: "verdict" }, step.verdict) : "",
    step.rule ? h("code", {}, step.rule) : "",
    step.effect || step.purpose ? h("span", { class: "purpose" }, [step.effect, step.purpose].filter(Boolean).join(": ")) : ""));
  const facts = Object.entries(FACTS).filter(([name]) => hop[name])
    .map(([name, words]) => h("p", { class: "fact" }, h("b", {}, name), " ", words(hop[name])));
  const element = h("li", { class: `hop ${hop.role}` },
    h("button", { class: "hop-head", type: "button", onclick: () => (pause(), go(moments.findIndex((each) => each.hop === number))) },
      h("b", {}, hop.host), h("em", {}, hop.packet),
      h("small", {}, [hop.in && `in ${hop.in}`, hop.out && `out ${hop.out}`].filter(Boolean).join(" · "))),
    h("p", { class: "flow" }, ends(hop.before)),
    changed.length ? h("p", { class: "flow changed" }, ...["source", "destination"].flatMap((end, i) => [i ? " → " : "", changed.includes(end) ? h("mark", {}, at(hop.after, end)) : at(hop.after, end)])) : "",
    ...facts,
    steps.length ? h("ol", { class: "steps" }, steps) : "");
  return { element, steps };
}

function toggle() {
  if (playing) return pause();
  playing = true;
  showPlaying();
  if (now >= moments.length - 1) go(0);
  else go(now + 1);
}

function pause() {
  playing = false;
  clearTimeout(timer);
  showPlaying();
}

function showPlaying() {
  const button = $("play");
  if (!button) return;
  button.textContent = playing ? "❚❚" : "▶▶";
  button.title = playing ? "Stop" : "Go on";
  button.setAttribute("aria-label", button.title);
}

export function stop() {
  playing = false;
  clearTimeout(timer);
  moving?.cancel();
  clearMarks();
  answer = null;
  moments = [];
  now = -1;
  packet.hidden = callout.hidden = true;
}

function clearMarks() {
  for (const each of trail) each.remove();
  trail = [];
  for (const each of picture.querySelectorAll(".visited, .current, .end")) each.classList.remove("visited", "current", "end");
}

function go(to) {
  clearTimeout(timer);
  if (!moments.length) return;
  const from = now;
  now = Math.max(0, Math.min(to, moments.length - 1));
  $("progress").value = now;
  const hop = answer.hops[moments[now].hop];
  const walked = from >= 0 && now === from + 1 && moments[now].step < 0 && hop.in; // else it is made there
  const before = walked ? restOf(answer.hops[moments[from].hop].host) : null;
  settle();
  let wait = HOST_MS;
  if (moments[now].step >= 0) {
    const here = moments.filter((each) => each.hop === moments[now].hop).length;
    wait = Math.min(RULE_MS, MOST_ON_A_HOST_MS / here);
  } else if (before && !motionless()) {
    wait += MOVE_MS;
    move(before, restOf(hop.host));
  }
  if (!playing) return;
  if (now === moments.length - 1) {
    timer = setTimeout(pause, wait / speed);
  } else timer = setTimeout(() => go(now + 1), wait / speed);
}

// The packet is an element of its own above the picture, moved by the compositor: no layout, and
// nothing else is painted, however many hosts there are.
function move(from, to) {
  if (!from || !to) return;
  moving?.cancel();
  const frames = Array.from({ length: FRAMES + 1 }, (_, i) => ({ transform: translation(along(from, to, i / FRAMES)) }));
  moving = packet.animate(frames, { duration: MOVE_MS / speed, easing: "cubic-bezier(.45,.05,.35,1)" });
  callout.hidden = true;
  moving.onfinish = () => {
    moving = null;
    paint();
  };
}

// Returns the place of the packet on the curve from one host to another, 0 <= t <= 1.
function along(from, to, t) {
  const [a, b, c, d] = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t ** 2 * (1 - t), t ** 3];
  const bend = (to.y - from.y) / 2;
  return { x: (a + b) * from.x + (c + d) * to.x, y: a * from.y + b * (from.y + bend) + c * (to.y - bend) + d * to.y };
}

const translation = (at) => `translate(${at.x}px, ${at.y}px) translate(-50%, -50%)`;

// Shows this moment: in the list, and in the picture.
function settle() {
  moving?.cancel();
  moving = null;
  const { hop: number, step } = moments[now];
  rows.forEach((row, i) => {
    row.element.classList.toggle("current", i === number);
    if (i === number) row.element.setAttribute("aria-current", "step");
    else row.element.removeAttribute("aria-current");
    row.element.classList.toggle("passed", i < number);
    row.steps.forEach((each, j) => each.classList.toggle("current", i === number && j === step));
  });
  const shown = step >= 0 ? rows[number].steps[step] : rows[number].element.firstElementChild;
  shown.scrollIntoView({ block: "nearest", behavior: motionless() ? "auto" : "smooth" });
  elementOf(answer.hops[number].host)?.scrollIntoView({ block: "nearest" });
  paint();
}

// Puts packet, marks and callout where they belong, also when the picture was drawn anew.
export function paint() {
  if (now < 0) return;
  clearMarks();
  const { hop: number, step } = moments[now];
  const hop = answer.hops[number];
  const place = placeOf(hop.host);
  for (let i = 0; i <= number; i++) {
    elementOf(answer.hops[i].host)?.classList.add(i === number ? "current" : "visited");
    if (i && answer.hops[i].in) trail.push(line(answer.hops[i - 1].host, answer.hops[i].host, answer.hops[i].role));
  }
  trail = trail.filter(Boolean);
  trails.append(...trail);
  if (now === moments.length - 1) elementOf(hop.host)?.classList.add("end");
  if (moving) return;
  packet.hidden = !place;
  callout.hidden = !place;
  if (!place) return;
  packet.className = `packet ${hop.role}`;
  packet.style.transform = translation(restOf(hop.host));
  tell(hop, step, place);
}

function line(a, b, role) {
  const [from, to] = [restOf(a), restOf(b)];
  if (!from || !to || a === b) return null;
  const bend = (to.y - from.y) / 2;
  return svg("path", { d: `M${from.x} ${from.y}C${from.x} ${from.y + bend} ${to.x} ${to.y - bend} ${to.x} ${to.y}`, class: `trail ${role}` });
}

function tell(hop, step, place) {
  if (step >= 0) {
    const each = hop.steps[step];
    callout.replaceChildren(
      h("b", {}, `${hop.host}: ${[each.hook, each.table, each.chain].filter(Boolean).join(" ")}`),
      each.rule ? h("code", {}, each.rule) : "",
      h("span", {}, [each.effect || each.verdict, each.purpose].filter(Boolean).join(" — ")));
  } else {
    callout.replaceChildren(
      h("b", {}, `${hop.host}: ${hop.packet}`),
      h("span", {}, ends(hop.before)),
      ends(hop.before) === ends(hop.after) ? "" : h("mark", {}, ends(hop.after)));
  }
  if (now === moments.length - 1) callout.append(h("strong", {}, answer.sentence));
  callout.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = callout;
  const left = Math.max(4, Math.min(place.x - width / 2, picture.clientWidth - width - 4));
  const below = place.y + place.height / 2 + 12;
  const above = place.y - place.height / 2 - height - 12;
  const fits = { above: above >= picture.scrollTop, below: below + height <= picture.scrollTop + picture.clientHeight };
  const preferred = hop.kind === "node" ? "above" : "below"; // below a node are its pods
  const other = preferred === "above" ? "below" : "above";
  const top = { above, below }[fits[preferred] || !fits[other] ? preferred : other];
  callout.style.transform = `translate(${left}px, ${top}px)`;
}
