// What the page knows: entities by name, as the server tells them, and the questions to it.

export const entities = new Map();
const kinds = new Map(); // kind -> its entities by name
const slices = new Map(); // "namespace/name" of a Service -> its slices by name
const pods = new Map(); // node -> its pods by name
const listeners = new Set();
let token = "";

// Takes the token out of the address, so that it is in no screenshot, and keeps it for a reload.
// Returns whether there was one.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  token = given ?? sessionStorage.getItem("token") ?? "";
  return given !== null;
}

// Calls `listener` with the changed entities' names, and what each was before, until the function
// that it returns is called.
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const kindOf = (name) => name.split("/", 1)[0];
export const all = (kind) => [...(kinds.get(kind) ?? [])];

// Sets an entity, or removes it if it is null, and keeps what finds it: the work for a change must
// not grow with the lab.
function put(name, each) {
  const was = entities.get(name);
  const kind = kindOf(name);
  const places = (one) => [[kinds, kind], kind === "slice" && [slices, one.service], one.kind === "pod" && [pods, one.node]].filter(Boolean);
  if (was) for (const [index, key] of places(was)) if (!each || index !== kinds) index.get(key)?.delete(name);
  if (!each) return void entities.delete(name);
  entities.set(name, each);
  for (const [index, key] of places(each)) {
    if (!index.has(key)) index.set(key, new Map());
    index.get(key).set(name, each);
  }
}

// Follows the lab; tells `state` "live", "lost", "denied" or "gone".
export async function follow(state) {
  for (;;) {
    try {
      const answer = await fetch("live", { headers: authorized() });
      if (answer.status === 401) return state("denied");
      if (!answer.ok) throw new Error(answer.statusText);
      let first = true;
      for await (const line of lines(answer.body)) {
        take(JSON.parse(line), first);
        first = false;
        state(entities.get("lab")?.state === "gone" ? "gone" : "live");
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // of the network
    }
    if (entities.get("lab")?.state === "gone") return state("gone");
    state("lost");
    await new Promise((done) => setTimeout(done, 1000));
  }
}

async function* lines(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for (const reader = body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}

function take(changes, first) {
  if (first) for (const name of entities.keys()) changes[name] ??= null; // it is gone
  const changed = new Map(Object.keys(changes).map((name) => [name, entities.get(name)]));
  for (const [name, each] of Object.entries(changes)) put(name, each);
  if (changed.size) for (const listener of listeners) listener(changed);
}

// Asks the lab, and returns its answer. Throws an Error with the lab's words.
export async function ask(what, question = {}) {
  const answer = await fetch(what, {
    method: "POST",
    headers: { ...authorized(), "Content-Type": "application/json" },
    body: JSON.stringify(question),
  }).catch(() => {
    throw new Error("The page has no connection to `kproxy ui`.");
  });
  const text = await answer.text();
  let said = {};
  try {
    said = JSON.parse(text);
  } catch {
    said = { problems: [text.trim() || answer.statusText] };
  }
  if (answer.ok && !said.problems) return said;
  const remedy = said.remedy ? ` Try: ${said.remedy}` : "";
  throw new Error(`${(said.problems ?? [answer.statusText]).join("; ")}.${remedy}`);
}

const authorized = () => ({ Authorization: `Bearer ${token}` });

// --- what follows from entities ------------------------------------------------------------------

export const isV6 = (address) => address.includes(":");
export const hostPort = (address, port) => (isV6(address) ? `[${address}]:${port}` : `${address}:${port}`);
export const shortName = (service) =>
  service.namespace === "default" ? service.name : `${service.name}.${service.namespace}`;
export const ofFamily = (addresses, family) =>
  (addresses ?? []).filter((each) => isV6(each) === (family === "IPv6"));

export function hosts(kind) {
  return all("host").map(([, each]) => each).filter((each) => each.kind === kind);
}

export const podsOn = (node) => [...(pods.get(node)?.values() ?? [])];

export function endpointsOf(service) {
  return [...(slices.get(`${service.namespace}/${service.name}`)?.values() ?? [])]
    .flatMap((each) => each.endpoints.map((one) => ({ ...one, family: each.family, port: each.ports[0] })));
}

// Returns the ways to a Service in a family: {via, address, port, protocol}.
export function waysTo(service, family) {
  const found = [];
  const nodes = hosts("node");
  for (const port of service.ports) {
    const add = (via, addresses, number = port.port) => {
      for (const address of ofFamily(addresses, family)) {
        found.push({ via, address, port: number, protocol: port.protocol });
      }
    };
    add("cluster IP", service.clusterIPs.filter((each) => each !== "None"));
    add("load balancer", service.balancerIPs);
    add("external IP", service.externalIPs);
    if (port.nodePort) for (const node of nodes) add(`node port of ${node.name}`, [...node.addresses, ...(node.public ?? [])], port.nodePort);
  }
  return found;
}

// Returns the way that a client would take.
export function wayFor(client, service, family) {
  const ways = waysTo(service, family);
  if (entities.get(`host/${client}`)?.kind !== "client") return ways[0];
  const seen = new Set(all("host").flatMap(([, each]) => each.public ?? []));
  return ways.find((each) => seen.has(each.address)) ?? ways.find((each) => each.via !== "cluster IP") ?? ways[0];
}
