// The panel of one Service: its addresses, policies, endpoints and rules.

import { $, h, oncePerFrame } from "./dom.js";
import { ask, endpointsOf, entities, hostPort, hosts, onChange, shortName, waysTo } from "./lab.js";

const POLICIES = {
  externalTrafficPolicy: ["Cluster", "Local"],
  internalTrafficPolicy: ["Cluster", "Local"],
  sessionAffinity: ["None", "ClientIP"],
  trafficDistribution: ["", "PreferSameZone", "PreferSameNode"],
};

// What is said of the Service, and its rules: these are many, and drawn again only when they differ.
const [about, ruled] = [h("div"), h("div")];
let drawn; // the rules that `ruled` shows
let name = "";
let family = "IPv4";
let node = ""; // whose rules are shown; "": the first
let rules = null; // what the lab says, or an Error, or null while it is asked
let onAsk = () => {};
let onPolicy = () => {};

export function startDetails(asked, changed) {
  [onAsk, onPolicy] = [asked, changed];
  $("service").append(about, ruled);
  const redraw = oncePerFrame(draw);
  onChange((names) => {
    if (!name) return;
    for (const [each, was] of names) {
      if (each === name || (each.startsWith("slice/") && [was, entities.get(each)].some((one) => one && `service/${one.service}` === name))) {
        redraw();
        return void askForRules();
      }
    }
  });
  draw();
}

export function showService(wanted, wantedFamily) {
  [name, family, rules] = [wanted, wantedFamily, null];
  draw();
  askForRules();
}

// However many changes come while the lab is asked, it is asked once more.
let [asking, again] = [false, false];
async function askForRules() {
  again = true;
  if (asking) return;
  asking = true;
  while (again) {
    again = false;
    const [, namespace, own] = name.split("/");
    const found = await ask("ask/rules", { namespace, name: own, node, families: [family] }).catch((error) => error);
    if (!again) rules = found;
  }
  asking = false;
  draw();
}

function draw() {
  const service = entities.get(name);
  if (!service) {
    ruled.replaceChildren();
    drawn = undefined;
    about.replaceChildren(h("p", { class: "hint" }, name ? "This Service is gone." : "Choose a Service in the picture."));
    return;
  }
  const focused = document.activeElement?.id;
  const ways = waysTo(service, family);
  const endpoints = endpointsOf(service).filter((each) => each.family === family);
  about.replaceChildren(
    h("h2", {}, shortName(service), " ", h("em", {}, service.type)),
    h("h3", {}, "Addresses"),
    ways.length ? h("ul", { class: "ways" }, ways.map((way) => h("li", {},
      h("button", { type: "button", class: "quiet", title: "Ask this address", onclick: () => onAsk(way) }, hostPort(way.address, way.port)),
      ` ${way.protocol} `, h("em", {}, way.via)))) : h("p", { class: "hint" }, `None in ${family}.`),
    h("h3", {}, "Endpoints"),
    endpoints.length ? h("ul", { class: "ways" }, endpoints.map((each) => h("li", {},
      h("i", { class: `dot ${each.terminating ? "ending" : each.ready ? "ready" : "unready"}` }),
      ` ${hostPort(each.address, each.port)} `, h("em", {}, [each.pod, each.node && `on ${each.node}`, each.terminating ? "ending" : each.ready ? "" : "not ready"].filter(Boolean).join(", ")))))
      : h("p", { class: "hint" }, "None."),
    service.type === "ExternalName" ? "" : h("h3", {}, "Policies"),
    service.type === "ExternalName" ? "" : h("div", { class: "policies" }, Object.entries(POLICIES)
      .filter(([field]) => field !== "externalTrafficPolicy" || service.type !== "ClusterIP" || service.externalIPs.length)
      .map(([field, values]) => h("label", {}, field, h("select", { id: `policy-${field}`, onchange: (event) => onPolicy(service, field, event.target.value) },
        values.map((value) => h("option", { value, selected: value === (service.policies[field] || values[0]) }, value || "(none)")))))),
    h("h3", {}, "Rules, in the order packets meet them"),
    h("label", { class: "on" }, "on ", h("select", { id: "rules-node", onchange: (event) => ((node = event.target.value), askForRules()) },
      hosts("node").map((each) => h("option", { value: each.name, selected: each.name === node }, each.name)))));
  if (focused && about.querySelector(`#${CSS.escape(focused)}`)) $(focused).focus();
  if (drawn !== rules) ruled.replaceChildren(shownRules());
  drawn = rules;
}

function shownRules() {
  if (rules === null) return h("p", { class: "hint" }, "Asking the lab…");
  if (rules instanceof Error) return h("p", { class: "problem" }, rules.message);
  const lines = rules.families[0]?.rules ?? [];
  if (!lines.length) return h("p", { class: "hint" }, `None on ${rules.node} in ${family}.`);
  return h("ol", { class: "rules" }, lines.map((each) => h("li", { class: `depth-${Math.min(each.depth ?? 0, 5)}` },
    h("p", { class: "line" }, h("small", {}, each.table), " ", h("b", {}, each.chain),
      each.packets === null ? "" : h("small", { class: "number" }, `${each.packets} packets`)),
    each.purpose ? h("p", { class: "purpose" }, each.purpose) : "",
    h("code", {}, each.rule))));
}
