// Small helpers: elements, and one drawing for all changes between two frames.

// Returns an element. Properties that begin with "on" are listeners, "class" and those with a
// hyphen are attributes, all others are set as they are.
export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(made.dataset, value);
    else if (name === "class" || name.includes("-") || name === "role") {
      if (value !== null) made.setAttribute(name, value);
    } else made[name] = value;
  }
  made.append(...children.flat().filter((each) => each !== null && each !== ""));
  return made;
}

export function svg(tag, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export const $ = (id) => document.getElementById(id);

// Returns a function that asks for one call of `draw` in the next frame, however often it is
// called. A tab that is not seen has no frames, and needs none.
export function oncePerFrame(draw) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      draw();
    });
  };
}

// Makes the children of `parent` those of `wanted`, [key, draw(element or undefined)] each, and
// moves or makes only what differs.
export function arrange(parent, wanted, kept) {
  const keys = new Set(wanted.map(([key]) => key));
  for (const [key, element] of kept) {
    if (!keys.has(key)) {
      element.remove();
      kept.delete(key);
    }
  }
  let next = parent.firstElementChild;
  for (const [key, draw] of wanted) {
    const had = kept.get(key);
    const element = draw(had);
    if (element !== had) {
      had?.replaceWith(element);
      kept.set(key, element);
      if (had && next === had) next = element;
    }
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
}

// Lets arrow keys move the focus among elements, of which one at a time is reached by Tab.
// `towards(current, key)` returns the next element, or undefined.
export function rove(container, selector, towards) {
  container.addEventListener("keydown", (event) => {
    const current = event.target.closest?.(selector);
    if (!current || event.ctrlKey || event.altKey || event.metaKey) return;
    const next = towards(current, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  container.addEventListener("focusin", (event) => {
    const current = event.target.closest?.(selector);
    if (!current) return;
    for (const each of container.querySelectorAll(`${selector}[tabindex="0"]`)) {
      if (each !== current) each.tabIndex = -1;
    }
    current.tabIndex = 0;
  });
}

// Returns the nearest of `elements` in the direction of an arrow key.
export function nearest(current, key, elements) {
  if (!key.startsWith("Arrow")) return undefined;
  const from = current.getBoundingClientRect();
  const [x, y] = [from.x + from.width / 2, from.y + from.height / 2];
  const level = key === "ArrowRight" || key === "ArrowLeft";
  let best;
  let least = Infinity;
  for (const each of elements) {
    if (each === current) continue;
    const at = each.getBoundingClientRect();
    const [dx, dy] = [at.x + at.width / 2 - x, at.y + at.height / 2 - y];
    const along = { ArrowRight: dx, ArrowLeft: -dx, ArrowDown: dy, ArrowUp: -dy }[key];
    // Beside each other are those that overlap, however far apart their middles are.
    const across = level ? gap(from.top, from.bottom, at.top, at.bottom) : gap(from.left, from.right, at.left, at.right);
    if (along < 4) continue;
    const distance = along + across * 4 + Math.abs(level ? dy : dx) / 100;
    if (distance < least) [best, least] = [each, distance];
  }
  return best;
}

const gap = (a, b, c, d) => Math.max(0, c - b, a - d);

export const motionless = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
