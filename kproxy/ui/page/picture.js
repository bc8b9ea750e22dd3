// The picture: hosts in tiers, pods on their nodes, Services with their endpoints, links between.

import { $, arrange, h, nearest, oncePerFrame, rove, svg } from "./dom.js";
import { all, endpointsOf, entities, hosts, kindOf, ofFamily, onChange, podsOn, shortName } from "./lab.js";

const picture = $("picture");
const links = $("links");
const trails = $("trails"); // above the hosts
const kept = { clients: new Map(), edge: new Map(), router: new Map(), nodes: new Map(), services: new Map() };
const podsOf = new Map(); // node -> its pods' elements
const elements = new Map(); // "host/..." or "service/..." -> element
const MANY_HOSTS = 60; // from here on pods are only names
const MOST_LINES = 16; // to endpoints: more of them would hide what they lead to
let choose = () => {};
let drawn = () => {};
const chosen = { from: "", to: "" };
let family = "IPv4";
let pointed = ""; // the Service whose endpoints are shown
const stale = new Set(); // what has to be drawn again; "*": everything
let serving = []; // the marked endpoints
const byName = new Intl.Collator("en", { numeric: true }).compare;

// `onChoose` is called with what is clicked, and whether it is to be asked itself; `onDrawn` when
// elements may be others, or elsewhere.
export function startPicture(onChoose, onDrawn) {
  [choose, drawn] = [onChoose, onDrawn];
  const redraw = oncePerFrame(draw);
  onChange((changed) => {
    for (const [name, was] of changed) note(name, was);
    if (stale.size) redraw();
  });
  new ResizeObserver(oncePerFrame(() => (drawLinks(), drawn()))).observe(picture);
  picture.addEventListener("click", (event) => {
    const element = event.target.closest("[data-entity]");
    if (element) choose(element.dataset.entity, event.shiftKey);
  });
  picture.addEventListener("keydown", (event) => {
    const element = event.target.closest("[data-entity]");
    if (element && event.key.toLowerCase() === "t" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      choose(element.dataset.entity, true);
    }
  });
  for (const [name, on] of [["pointerover", true], ["pointerleave", false], ["focusin", true]]) {
    picture.addEventListener(name, (event) => point(on ? event.target : null));
  }
  rove(picture, "[data-entity]", (current, key) => {
    const there = [...picture.querySelectorAll("[data-entity]")];
    if (key === "Home") return there[0];
    if (key === "End") return there.at(-1);
    return nearest(current, key, there);
  });
}

// Notes what of the picture an entity has changed: a pod is drawn with its node, an endpoint with
// its Service.
function note(name, was) {
  const is = entities.get(name);
  const [kind, own] = [kindOf(name), name.slice(name.indexOf("/") + 1)];
  if (kind === "service") stale.add(name);
  if (kind === "node" || kind === "proxy") stale.add(`host/${own}`);
  if (kind === "lab") stale.add("host/API");
  for (const each of [was, is]) {
    if (kind === "slice" && each) stale.add(`service/${each.service}`);
    if (kind === "host" && each) stale.add(name).add(`host/${each.kind === "pod" ? each.node : each.name}`);
  }
  if (!is) elements.delete(name);
}

export function setFamily(wanted) {
  family = wanted;
  stale.add("*");
  draw();
}

export function mark(from, to) {
  for (const role of ["from", "to"]) elements.get(chosen[role])?.classList.remove(role);
  Object.assign(chosen, { from, to });
  for (const role of ["from", "to"]) elements.get(chosen[role])?.classList.add(role);
  drawLinks();
}

export const elementOf = (host) => elements.get(`host/${host}`);

// Returns the middle of a host in the picture, or undefined.
export function placeOf(host) {
  const element = elementOf(host);
  return element && middle(element);
}

// Returns where the packet rests on a host: at its left edge, beside the name.
export function restOf(host) {
  const place = placeOf(host);
  return place && { x: place.x - place.width / 2, y: place.y };
}

function point(target) {
  const name = target?.closest?.("[data-entity]")?.dataset.entity ?? "";
  const service = name.startsWith("service/") ? name : "";
  if (service === pointed) return;
  pointed = service;
  drawLinks();
}

function middle(element) {
  const [at, origin] = [element.getBoundingClientRect(), picture.getBoundingClientRect()];
  return {
    x: at.x - origin.x + picture.scrollLeft + at.width / 2,
    y: at.y - origin.y + picture.scrollTop + at.height / 2,
    width: at.width,
    height: at.height,
  };
}

function draw() {
  picture.classList.toggle("dense", all("host").length > MANY_HOSTS);
  const clients = hosts("client");
  const edge = [...hosts("gateway"), ...hosts("balancer")];
  tier("clients", clients, (each) => host(each, "a client outside"));
  tier("edge", edge, (each) => host(each, each.kind));
  tier("router", [...hosts("router"), ...api()], (each) => host(each, each.kind));
  tier("nodes", hosts("node"), node);
  const services = all("service").map(([, each]) => each).sort(bySystem);
  tier("services", services, service);
  $("tier-edge").hidden = !edge.length;
  if (!picture.querySelector('[data-entity][tabindex="0"]')) {
    const first = picture.querySelector("[data-entity]");
    if (first) first.tabIndex = 0;
  }
  stale.clear();
  for (const role of ["from", "to"]) elements.get(chosen[role])?.classList.add(role);
  drawLinks();
  drawn();
}

const isStale = (name) => stale.has(name) || stale.has("*");

const bySystem = (a, b) => a.system - b.system || byName(a.name, b.name) || byName(a.namespace, b.namespace);

function api() {
  const url = entities.get("lab")?.api;
  const router = hosts("router")[0];
  return url && router ? [{ name: "API", kind: "api", addresses: router.addresses, port: 6443, to: "router" }] : [];
}

function tier(name, things, draw) {
  const wanted = things.map((each) => {
    const own = each.kind ? `host/${each.name}` : `service/${each.namespace}/${each.name}`;
    return [own, (had) => (had && !isStale(own) ? had : draw(each, had))];
  });
  arrange($(`tier-${name}`), wanted, kept[name]);
}

function entity(name, had, shown, make) {
  if (had && had.dataset.shown === shown) {
    remember(name, had);
    return had;
  }
  const made = make();
  made.dataset.shown = shown;
  const focused = had && had.contains(document.activeElement);
  const inner = made.matches("[data-entity]") ? made : made.querySelector("[data-entity]");
  const formerInner = had && (had.matches("[data-entity]") ? had : had.querySelector("[data-entity]"));
  inner.tabIndex = formerInner?.tabIndex ?? -1;
  remember(name, made);
  if (focused) requestAnimationFrame(() => inner.focus());
  return made;
}

function remember(name, element) {
  elements.set(name, element.matches("[data-entity]") ? element : element.querySelector("[data-entity]"));
}

function addresses(each) {
  const own = ofFamily(each.addresses, family);
  const outside = ofFamily(each.public, family);
  return [...own, ...outside.map((one) => `public ${one}`)].join(", ");
}

// Returns the names of the link that a host hangs on, at both ends, and its addresses.
const linkOf = (each) => [each.there ? `eth0 - ${each.there} on ${each.to}` : "", each.addresses.join(", "), each.podCIDRs ? `pods: ${each.podCIDRs.join(", ")}` : ""].filter(Boolean).join("\n");

function host(each, what, had) {
  const name = `host/${each.name}`;
  const text = each.port ? `${addresses(each)}:${each.port}` : addresses(each);
  return entity(name, had, text, () =>
    h("button", { class: `host ${each.kind}`, type: "button", title: linkOf(each), dataset: { entity: name }, "aria-label": `${each.name}, ${what}, ${text}` },
      h("b", {}, each.name), h("small", {}, text)));
}

function node(each, had) {
  const name = `host/${each.name}`;
  const pods = podsOn(each.name).sort((a, b) => a.system - b.system || byName(a.name, b.name));
  const proxy = entities.get(`proxy/${each.name}`);
  const ready = entities.get(`node/${each.name}`)?.ready !== false && proxy?.healthy !== false;
  const text = addresses(each);
  const state = ready ? "ready" : "not ready";
  let section = had;
  if (!section) {
    section = h("section", { class: "node" }, h("div", { class: "head" }), h("div", { class: "pods" }));
    podsOf.set(section, new Map());
  }
  const head = entity(name, section.firstElementChild.firstElementChild, `${text} ${state} ${each.zone}`, () =>
    h("button", { class: `host node ${ready ? "" : "unready"}`, type: "button", title: linkOf(each), dataset: { entity: name }, "aria-label": `${each.name}, a node, ${state}, ${text}` },
      h("b", {}, h("i", { class: "dot" }), each.name), each.zone ? h("em", {}, each.zone) : "", h("small", {}, text)));
  if (head !== section.firstElementChild.firstElementChild) section.firstElementChild.replaceChildren(head);
  arrange(section.lastElementChild, pods.map((one) => [one.name, (old) => pod(one, old)]), podsOf.get(section));
  return section;
}

function pod(each, had) {
  const name = `host/${each.name}`;
  const state = each.terminating ? "ending" : each.ready ? "ready" : each.phase === "Running" ? "unready" : "pending";
  const text = addresses(each);
  return entity(name, had, `${text} ${state}`, () =>
    h("button", { class: `host pod ${state} ${each.system ? "system" : ""}`, type: "button", title: linkOf(each), dataset: { entity: name }, "aria-label": `${each.name}, a pod on ${each.node}, ${state}, ${text}` },
      h("b", {}, h("i", { class: "dot" }), each.name), h("small", {}, text)));
}

function service(each, had) {
  const name = `service/${each.namespace}/${each.name}`;
  const own = endpointsOf(each).filter((one) => one.family === family);
  const ready = own.filter((one) => one.ready).length;
  const elsewhere = each.type === "ExternalName";
  const ips = elsewhere ? each.externalName : each.clusterIPs.includes("None") ? "headless" : ofFamily(each.clusterIPs, family)[0] ?? `no ${family} address`;
  const ports = each.ports.map((one) => `${one.port}${one.nodePort ? `:${one.nodePort}` : ""}${one.protocol === "TCP" ? "" : `/${one.protocol}`}`).join(" ");
  const outside = [...ofFamily(each.balancerIPs, family), ...ofFamily(each.externalIPs, family)].join(", ");
  const tags = Object.entries({ "ext Local": each.policies.externalTrafficPolicy === "Local", "int Local": each.policies.internalTrafficPolicy === "Local", affinity: each.policies.sessionAffinity === "ClientIP", [each.policies.trafficDistribution]: each.policies.trafficDistribution })
    .filter(([, on]) => on).map(([tag]) => tag);
  const dots = own.slice(0, 24).map((one) => (one.ready ? "r" : one.terminating ? "t" : "n")).join("");
  const said = `Service ${shortName(each)}, ${each.type}, ${ips}${ports && `, ports ${ports}`}${elsewhere ? "" : `, ${ready} of ${own.length} endpoints ready`}`;
  const shown = [said, ips, ports, outside, tags, dots, own.length].join("|");
  return entity(name, had, shown, () =>
    h("button", { class: `service ${each.system ? "system" : ""}`, type: "button", dataset: { entity: name }, "aria-label": said },
      h("span", { class: "line" }, h("b", {}, shortName(each)), h("em", {}, each.type)),
      h("small", {}, `${ips} ${ports}`),
      outside ? h("small", {}, outside) : "",
      h("span", { class: "line" },
        h("span", { class: "dots", title: `${ready} of ${own.length} ready` }, [...dots].map((one) => h("i", { class: `dot ${one === "r" ? "ready" : one === "t" ? "ending" : "unready"}` })), own.length > dots.length ? h("em", {}, `+${own.length - dots.length}`) : "", own.length || elsewhere ? "" : h("em", { class: "none" }, "no endpoints")),
        tags.map((tag) => h("em", { class: "tag" }, tag)))));
}

// --- links ---------------------------------------------------------------------------------------

function drawLinks() {
  for (const each of [links, trails]) {
    const [width, height] = [picture.clientWidth, Math.max(picture.clientHeight, bottom())];
    if (each.getAttribute("width") !== `${width}`) each.setAttribute("width", width);
    if (each.getAttribute("height") !== `${height}`) each.setAttribute("height", height);
  }
  const [cables, above] = [[], []];
  for (const [, each] of all("host")) {
    if (each.kind === "pod" || !each.to) continue;
    const [from, to] = [placeOf(each.name), placeOf(each.to)];
    if (from && to) cables.push([curve(from, to), "cable"]);
  }
  const wanted = pointed || (chosen.to.startsWith("service/") ? chosen.to : "");
  const service = entities.get(wanted);
  const marked = [];
  if (service && elements.has(wanted)) {
    const from = middle(elements.get(wanted));
    const endpoints = endpointsOf(service).filter((each) => each.family === family);
    for (const one of endpoints) {
      const element = elementOf(one.pod || (one.node ?? ""));
      if (!element) continue;
      marked.push(element);
      if (endpoints.length <= MOST_LINES) above.push([curve(from, middle(element)), one.ready ? "serves" : "serves unready"]);
    }
  }
  const now = new Set(marked);
  for (const each of serving) if (!now.has(each)) each.classList.remove("endpoint");
  for (const each of now) each.classList.add("endpoint");
  serving = [...now];
  lines(links, "cable", cables);
  lines(trails, "serves", above);
}

// Makes the lines of a class in a drawing those of `wanted`, [way, class] each. What stays where it
// was is not painted again.
function lines(drawing, kind, wanted) {
  const had = [...drawing.querySelectorAll(`.${kind}`)];
  for (const each of had.splice(wanted.length)) each.remove();
  for (const [i, [d, name]] of wanted.entries()) {
    const path = had[i] ?? drawing.appendChild(svg("path"));
    if (path.getAttribute("d") !== d) path.setAttribute("d", d);
    if (path.getAttribute("class") !== name) path.setAttribute("class", name);
  }
}

// The lower end of what is drawn: not that of the scrolled area, which the drawing is part of.
function bottom() {
  const last = $("tier-services");
  return last.offsetTop + last.offsetHeight;
}

function curve(a, b) {
  const down = b.y > a.y ? 1 : -1;
  const [y1, y2] = [a.y + (down * a.height) / 2, b.y - (down * b.height) / 2];
  const bend = (y2 - y1) / 2;
  return `M${a.x} ${y1}C${a.x} ${y1 + bend} ${b.x} ${y2 - bend} ${b.x} ${y2}`;
}
