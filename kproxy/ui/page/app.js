// Puts the page together: the fields to ask with, the tabs, light and dark.

import { $, h, oncePerFrame } from "./dom.js";
import { all, ask, entities, follow, hostPort, hosts, isV6, kindOf, ofFamily, onChange, shortName, takeToken, wayFor, waysTo } from "./lab.js";
import { mark, setFamily, startPicture } from "./picture.js";
import { failed, paint, show, startWalk, stop, waiting } from "./walk.js";
import { showService, startDetails } from "./details.js";
import { measured, startMatrix } from "./matrix.js";
import { liveNow, showEvents, startEvents } from "./events.js";

const form = $("ask");
const [from, to, protocol, family] = ["from", "to", "protocol", "family"].map($);
let target = ""; // the entity that was chosen in the picture

// --- tabs ----------------------------------------------------------------------------------------

const tabs = [...document.querySelectorAll("[role=tab]")];

function open(name) {
  for (const tab of tabs) {
    const on = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", on);
    tab.tabIndex = on ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !on;
  }
  if (name === "events") showEvents(); // it is drawn only while it is seen
}

for (const [place, tab] of tabs.entries()) {
  tab.addEventListener("click", () => open(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(place + step + tabs.length) % tabs.length];
    open(next.getAttribute("aria-controls"));
    next.focus();
  });
}

// --- light and dark ------------------------------------------------------------------------------

const themes = ["auto", "light", "dark"];
const signs = { auto: "◐", light: "☀", dark: "☾" };

function theme(wanted) {
  if (wanted === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
  $("theme").textContent = `${signs[wanted]} ${wanted}`;
  localStorage.setItem("theme", wanted);
}

$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "auto";
  theme(themes[(themes.indexOf(now) + 1) % themes.length]);
});
theme(themes.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto");

// --- asking --------------------------------------------------------------------------------------

const asking = () => ["client", "node", "pod"].flatMap((kind) => hosts(kind).sort((a, b) => (a.system ?? false) - (b.system ?? false)));

const offer = oncePerFrame(() => {
  const chosen = from.value;
  fill(from, asking().map((each) => [each.name, each.name]));
  if ([...from.options].some((each) => each.value === chosen)) from.value = chosen;
  fill($("targets"), all("service").flatMap(([, each]) => [
    [shortName(each), each.type],
    ...waysTo(each, family.value).map((way) => [hostPort(way.address, way.port), `${shortName(each)}, ${way.via}`])]));
});

// Makes the options of a list [value, text] each, unless they are that.
const filled = new Map();
function fill(list, options) {
  const told = JSON.stringify(options);
  if (filled.get(list) === told) return;
  filled.set(list, told);
  list.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
}

// Returns what the field "To" means: {address, port, protocol}. Throws an Error in words.
function meant(text) {
  const service = all("service").map(([, each]) => each).find((each) => shortName(each) === text || `${each.namespace}/${each.name}` === text);
  if (service) {
    const way = wayFor(from.value, service, family.value);
    if (!way) throw new Error(`${text} has no address in ${family.value} that could be asked.`);
    return way;
  }
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text.trim());
  if (!found) throw new Error(`${text} is neither a Service nor address:port (IPv6: [address]:port).`);
  const [, six, four, port] = found;
  const host = entities.get(`host/${four}`);
  const address = six ?? (host ? ofFamily(host.addresses, family.value)[0] : four);
  return { address, port: Number(port), protocol: protocol.value };
}

async function send() {
  let way;
  try {
    way = meant(to.value);
  } catch (error) {
    open("walk");
    return failed(error.message);
  }
  protocol.value = way.protocol;
  open("walk");
  waiting(`${from.value} asks ${hostPort(way.address, way.port)}…`);
  try {
    const target = way.protocol === "ICMP" ? way.address : hostPort(way.address, way.port);
    const asked = { source: from.value, target, protocol: way.protocol };
    show((await ask("ask/trace", asked)).itineraries[0]);
  } catch (error) {
    failed(error.message);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
from.addEventListener("change", () => marks());
to.addEventListener("change", () => {
  const service = all("service").find(([, each]) => shortName(each) === to.value);
  target = service?.[0] ?? "";
  marks();
});
family.addEventListener("change", () => {
  setFamily(family.value);
  offer();
  if (target.startsWith("service/")) showService(target, family.value);
});

const marks = () => mark(from.value ? `host/${from.value}` : "", target);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  ready = false;
  target = to.value = "";
  stop();
  mark("", "");
});

// A Service is asked; a host asks, or, with Shift or T, is asked itself.
let ready = false; // somebody was chosen to ask since the last answer
function choose(name, asTarget) {
  if (name === "host/API") name = "service/default/kubernetes"; // which leads there
  const each = entities.get(name);
  if (!each) return;
  if (name.startsWith("service/")) {
    target = name;
    to.value = shortName(each);
    marks();
    showService(name, family.value);
    if (ready && each.type !== "ExternalName") send();
    else open("service");
  } else if (asTarget || !["client", "node", "pod"].includes(each.kind)) {
    target = name;
    to.value = hostPort(ofFamily(each.addresses, family.value)[0], portOf(each.name));
    marks();
    if (ready) send();
  } else {
    from.value = each.name;
    ready = true;
    marks();
  }
}

// Returns a port that a host serves, as far as Services tell.
function portOf(host) {
  for (const [, slice] of all("slice")) {
    if (slice.endpoints.some((one) => one.pod === host) && slice.ports[0]) return slice.ports[0];
  }
  return 80;
}

// Changes something, and measures who reaches what before and after it.
async function compare(what, change) {
  open("matrix");
  try {
    if (!entities.get("matrix")) await measured();
    await ask(what, change);
    await measured();
  } catch (error) {
    open("walk");
    failed(error.message);
    facts(); // the mode is as before
  }
}

$("mode").addEventListener("change", (event) => compare("ask/mode", { mode: event.target.value }));

function offerModes(lab) {
  const select = $("mode");
  $("mode-label").hidden = !lab.mode;
  if (select.options.length !== lab.modes.length) select.replaceChildren(...lab.modes.map((each) => h("option", {}, each)));
  select.value = lab.mode;
}

// --- the lab -------------------------------------------------------------------------------------

const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

const facts = oncePerFrame(() => {
  const lab = entities.get("lab");
  if (!lab) return;
  $("lab-name").textContent = lab.name;
  document.title = `${lab.name} - kproxy`;
  const pods = hosts("pod");
  offerModes(lab);
  const said = [
    [lab.mode ? `like kube-proxy ${lab.emulates}` : "no proxies of kproxy", ""],
    [`${lab.network} network`, `on the kernel of ${lab.kernel === "host" ? "this machine" : lab.kernel}`],
    [count(hosts("node").length, "node"), ""],
    [`${pods.filter((each) => each.ready).length}/${pods.length} pods ready`, ""],
    [count(all("service").length, "Service"), ""],
    ...Object.entries(lab.options).map(([name, value]) => [`${name}: ${value}`, `an option of ${lab.mode} mode`]),
    ...Object.entries(lab.unusedOptions).map(([name, value]) => [`${name}: ${value} is not used`, `${lab.mode} mode has no such option`]),
  ];
  const list = $("facts");
  if (list.told === JSON.stringify(said)) return;
  list.told = JSON.stringify(said);
  list.replaceChildren(...said.map(([text, title]) => h("li", { title }, text)));
});

const STATES = {
  live: "live",
  lost: "no connection: is `kproxy ui` still running?",
  denied: "the token is missing or an old one: open the address that `kproxy ui` prints",
  gone: "the lab has ended; `kproxy up --ui` starts another one",
};

function state(now) {
  $("state").textContent = STATES[now];
  $("state").className = `state ${now}`;
  if (now === "live") requestAnimationFrame(liveNow);
}

takeToken();
// The address that has the token, opened in the tab that lacks it, is no new page to the browser.
addEventListener("hashchange", () => takeToken() && location.reload());
startPicture(choose, paint);
startWalk();
startDetails((way) => {
  to.value = hostPort(way.address, way.port);
  protocol.value = way.protocol;
  send();
}, (service, field, value) => compare("ask/policy", { service: `${service.namespace}/${service.name}`, field, value }));
startMatrix((client, row) => {
  family.value = isV6(row.address) ? "IPv6" : "IPv4";
  setFamily(family.value);
  from.value = client;
  to.value = hostPort(row.address, row.port);
  protocol.value = row.protocol;
  target = `service/${row.service}`;
  marks();
  send();
});
startEvents();
onChange((names) => {
  const kinds = new Set([...names.keys()].map(kindOf));
  if (kinds.has("host") || kinds.has("service") || kinds.has("lab")) facts();
  if (kinds.has("host") || kinds.has("service")) offer();
});
follow(state);
