// The explorer of sorting networks: values travel through the steps of a network.
//
// Invariant: `state` is what the controls and the link say; everything else is computed from it.
// Networks and layouts come from the data in the page, which Python wrote.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// -- the state, which the link keeps --------------------------------------------------------------

const state = {
  n: data.length, k: 3, op: "sort", order: "ascending", target: data.targets[0].id,
  step: 0, values: [], removed: new Set(),
};

function readLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  const pick = (name, allowed) => {
    if (allowed.includes(link.get(name))) state[name] = link.get(name);
  };
  const number = (name, low, high) => {
    const value = Number.parseInt(link.get(name), 10);
    if (value >= low && value <= high) state[name] = value;
  };
  number("n", 2, data.longest);
  number("k", 1, data.longest);
  pick("op", ["sort", "argsort", "top_k", "median"]);
  pick("order", ["ascending", "descending"]);
  pick("target", data.targets.map((each) => each.id));
  const values = parseValues(link.get("values") ?? "");
  state.values = Array.isArray(values) && values.length ? values : [];
  fitValues();
  state.removed = new Set((link.get("removed") ?? "").split(".").filter(Boolean));
  state.step = 0;
  number("step", 0, 1000);
}

function writeLink() {
  const link = new URLSearchParams({
    n: state.n, k: state.k, op: state.op, order: state.order, target: state.target,
    step: state.step, values: state.values.map(textOf).join(","),
  });
  if (state.removed.size) link.set("removed", [...state.removed].join("."));
  history.replaceState(null, "", `#${link}`);
  tellAround({ link: String(link), height: document.documentElement.offsetHeight });
}

// -- values ---------------------------------------------------------------------------------------

const textOf = (x) => (Object.is(x, -0) ? "-0" : x === Infinity ? "inf" : x === -Infinity ? "-inf" : String(x));

// Returns numbers, or the first word that is none.
function parseValues(text) {
  const words = text.split(/[\s,;]+/).filter(Boolean);
  const values = [];
  for (const word of words) {
    const plain = word.replace("−", "-").toLowerCase();
    const special = { nan: NaN, inf: Infinity, "+inf": Infinity, "-inf": -Infinity, "∞": Infinity, "-∞": -Infinity };
    const value = plain in special ? special[plain] : Number(plain);
    if (Number.isNaN(value) && plain !== "nan") return word;
    values.push(value);
  }
  return values;
}

const randomValue = () => Math.floor(Math.random() * 100);

function fitValues() {
  state.values.length = Math.min(state.values.length, state.n);
  while (state.values.length < state.n) state.values.push(randomValue());
  state.k = Math.min(state.k, state.n);
}

function shuffle(values) {
  for (let i = values.length - 1; i > 0; --i) {
    const j = Math.floor(Math.random() * (i + 1));
    [values[i], values[j]] = [values[j], values[i]];
  }
}

// -- the order ------------------------------------------------------------------------------------

const hasIndices = () => state.op === "argsort" || state.op === "top_k";

// Values alone: -0 comes before 0. With indices they are equal, and the lower index comes first.
// NaN is the largest value.
function compareValues(a, b) {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
  if (a === b) return hasIndices() ? 0 : Object.is(b, -0) - Object.is(a, -0);
  return a < b ? -1 : 1;
}

// Whether entry a belongs before entry b.
function comesBefore(a, b) {
  const order = compareValues(a.value, b.value) * (state.order === "descending" ? -1 : 1);
  return order < 0 || (order === 0 && a.index < b.index);
}

const entries = () => state.values.map((value, index) => ({ value, index }));

// -- networks -------------------------------------------------------------------------------------

const target = () => data.targets.find((each) => each.id === state.target);
const layout = () => target().layouts.find((each) => state.n <= each.longest);
const bitsOf = (n) => Math.max(1, Math.ceil(Math.log2(n)));

function placeOf(low, high) {
  const { registers, lanes, rest } = layout();
  const same = (size) => Math.floor(low / size) === Math.floor(high / size);
  if (same(registers)) return "register";
  if (rest === "warp" && same(registers * lanes)) return "lane";
  return rest;
}

// The steps of a network: comparators with their places, and whether each is present and needed.
function networkOf(kind) {
  const bits = bitsOf(state.n), leafBits = Math.log2(layout().registers);
  let flat = data.bitonic[bits];
  if (kind === "kernel" && bits > 1) {
    flat = leafBits < bits ? data.merged[`${bits},${leafBits}`] : data.smallest[bits];
  }
  const steps = flat.map((positions, step) => {
    const comparators = [];
    for (let i = 0; i < positions.length; i += 2) {
      const [low, high] = [positions[i], positions[i + 1]];
      const name = `${kind[0]}${step}_${low}_${high}`;
      comparators.push({ low, high, name, isPresent: high < state.n, isRemoved: state.removed.has(name) });
    }
    return comparators.filter((each) => each.low < state.n);
  });
  markNeeded(steps);
  return steps;
}

// The positions of the sorted row that the operation needs.
function wantedPositions() {
  const all = [...Array(state.n).keys()];
  if (state.op === "top_k") return all.slice(0, state.k);
  if (state.op === "median") return [Math.floor((state.n - 1) / 2), Math.floor(state.n / 2)];
  return all;
}

// From the last step to the first: a comparator is needed if one of its outputs is.
function markNeeded(steps) {
  const wanted = new Set(wantedPositions());
  for (const step of [...steps].reverse()) {
    for (const each of step) {
      each.isNeeded = each.isPresent && (wanted.has(each.low) || wanted.has(each.high));
    }
    for (const { low, high } of step.filter((each) => each.isNeeded)) wanted.add(low).add(high);
  }
}

const runs = (comparator) => comparator.isNeeded && !comparator.isRemoved;

// The entries at each position after each step, beginning with the input.
function trace(steps, row) {
  const rows = [row];
  for (const step of steps) {
    row = [...row];
    for (const { low, high } of step.filter(runs)) {
      if (comesBefore(row[high], row[low])) [row[low], row[high]] = [row[high], row[low]];
    }
    rows.push(row);
  }
  return rows;
}

// -- drawing --------------------------------------------------------------------------------------

const ROW = 26, COLUMN = 15, GAP = 46, LEFT = 30, CHIP = 40;

function element(parent, tag, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

// Spreads the comparators of a step over columns in which they do not overlap.
function columnsOf(step) {
  const columns = [];
  for (const each of step) {
    const free = columns.find((column) => column.at(-1).high < each.low);
    if (free) free.push(each);
    else columns.push([each]);
  }
  return columns;
}

class Drawing {
  constructor(kind) {
    this.kind = kind;
    this.figure = $(kind);
    this.box = this.figure.querySelector(".drawing");
  }

  // Draws wires and comparators; the chips of values come with move().
  draw(title) {
    this.steps = networkOf(this.kind);
    this.rows = trace(this.steps, entries());
    this.figure.querySelector("figcaption").textContent = title;
    this.box.setAttribute("aria-label", `${title}: ${this.steps.length} steps`);
    this.box.replaceChildren();
    const svg = element(this.box, "svg", { "aria-hidden": "true" });
    this.band = element(svg, "rect", { class: "now-band", y: 0 });
    const wires = element(svg, "g"), wanted = new Set(wantedPositions());
    this.stops = [LEFT + CHIP / 2];
    this.lines = [];
    let x = LEFT + CHIP;
    for (const step of this.steps) {
      const group = element(svg, "g");
      for (const column of columnsOf(step)) {
        x += COLUMN;
        for (const each of column) this.lines.push([each, this.drawComparator(group, each, x)]);
      }
      x += GAP + COLUMN;
      this.stops.push(x - GAP / 2);
    }
    const width = x + 4, height = (state.n + 0.5) * ROW;
    for (let i = 0; i < state.n; ++i) {
      const isWanted = wanted.has(i) ? " wanted" : "";
      element(wires, "line", { class: `wire${isWanted}`, x1: LEFT, x2: width, y1: this.y(i), y2: this.y(i) });
      element(wires, "text", { class: "place", x: 4, y: this.y(i) + 4 }, String(i));
    }
    this.band.setAttribute("height", height);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    this.chips = entries().map((entry) => this.drawChip(svg, entry));
  }

  y(position) {
    return (position + 0.75) * ROW;
  }

  drawComparator(group, each, x) {
    const kind = each.isRemoved ? "removed" : `${placeOf(each.low, each.high)}${each.isNeeded ? "" : " unneeded"}`;
    const line = element(group, "g", { class: `comparator ${kind}` });
    const end = each.isPresent ? this.y(each.high) : this.y(state.n - 0.5);
    element(line, "line", { x1: x, x2: x, y1: this.y(each.low), y2: end });
    element(line, "circle", { cx: x, cy: this.y(each.low), r: 3 });
    if (each.isPresent) element(line, "circle", { cx: x, cy: end, r: 3 });
    return line;
  }

  drawChip(svg, entry) {
    const chip = element(svg, "g", { class: "chip" });
    element(chip, "rect", { x: -CHIP / 2, y: -10, width: CHIP, height: 20 });
    const text = element(chip, "text", {}, textOf(entry.value).replace("-", "−"));
    if (hasIndices()) element(text, "tspan", { "font-size": 9, dy: 4 }, ` ${entry.index}`);
    return chip;
  }

  // Moves the chips to where the values are after some steps, and marks the step that led there.
  move(step) {
    const at = Math.min(step, this.steps.length);
    this.rows[at].forEach((entry, position) => {
      this.chips[entry.index].style.transform = `translate(${this.stops[at]}px, ${this.y(position)}px)`;
    });
    const now = new Set(this.steps[at - 1] ?? []);
    for (const [each, line] of this.lines) line.classList.toggle("now", now.has(each));
    const left = at ? this.stops[at - 1] + CHIP / 2 : 0;
    this.band.setAttribute("x", left);
    this.band.setAttribute("width", at ? this.stops[at] - CHIP / 2 - left : 0);
    const view = this.box;
    if (this.stops[at] - CHIP < view.scrollLeft || this.stops[at] + CHIP > view.scrollLeft + view.clientWidth) {
      view.scrollLeft = this.stops[at] - view.clientWidth / 2;
    }
  }
}

const kernel = new Drawing("kernel"), bitonic = new Drawing("bitonic");
const depth = () => Math.max(kernel.steps.length, bitonic.steps.length);

// -- texts ----------------------------------------------------------------------------------------

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function showStatus() {
  const step = kernel.steps[state.step - 1];
  if (state.step === 0) return ($("status").textContent = "The row as it comes. Step on, or play.");
  if (!step) return ($("status").textContent = "This network is done; the other one goes on.");
  const before = kernel.rows[state.step - 1];
  const active = step.filter(runs);
  const swapped = active.filter(({ low, high }) => comesBefore(before[high], before[low])).length;
  const places = [...new Set(active.map(({ low, high }) => placeOf(low, high)))];
  const words = { register: "registers of a lane", lane: "lanes", warp: "warps", tile: "slots of the tile" };
  const where = places.map((place) => words[place]).join(" and ") || "nothing";
  const costs = places.map((place) => target().costs[place]).join(" ");
  $("status").textContent =
    `Step ${state.step} of ${kernel.steps.length}: ${plural(active.length, "comparator")} between ${where}, ` +
    `${swapped} of them exchange. ${costs}`;
}

function resultOf(row) {
  const sorted = row.slice(0, state.n);
  if (state.op === "argsort") return sorted.map((entry) => entry.index).join("  ");
  if (state.op === "top_k") {
    return sorted.slice(0, state.k).map(({ value, index }) => `${textOf(value)} at ${index}`).join(",  ");
  }
  if (state.op === "median") {
    if (state.values.some(Number.isNaN)) return "NaN, because the row has a NaN";
    const [low, high] = wantedPositions().map((position) => sorted[position].value);
    return textOf(low === high ? low : (low + high) / 2);
  }
  return sorted.map(({ value }) => textOf(value)).join("  ");
}

function showResult() {
  $("result").textContent = resultOf(kernel.rows.at(-1));
  $("order-note").textContent = hasIndices()
    ? "NaN is the largest value. −0 equals 0, and of equal values the one with the lower index comes first: " +
      "an entry of the network is a value with its index, drawn small."
    : "NaN is the largest value, and −0 comes before 0.";
}

function showCounts() {
  const count = (steps, test) => steps.flat().filter(test).length;
  const line = (name, steps) => [
    name, count(steps, (each) => each.isPresent), count(steps, (each) => each.isNeeded),
    steps.filter((step) => step.some((each) => each.isPresent)).length,
  ];
  const lines = [line(kernelTitle(), kernel.steps), line("bitonic (Batcher)", bitonic.steps)];
  $("counts").replaceChildren(...lines.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((cell) => Object.assign(document.createElement("td"), { textContent: cell })));
    return row;
  }));
  $("counts-note").textContent =
    `Comparators that would touch positions beyond ${state.n - 1} are not counted. ` +
    (state.op === "sort" || state.op === "argsort" ? "All others are needed."
      : "Those whose two outputs the operation does not need are faded. Kernels for top_k and medians leave them " +
        "out block by block, which is a little less than one by one.");
}

function kernelTitle() {
  return layout().registers >= state.n && state.n > 2
    ? "smallest known" : "smallest known in registers, merged";
}

// -- the proof ------------------------------------------------------------------------------------

const MAX_PROOF = 16, CHUNK = 2048;
let proof = 0;  // the number of the proof that runs, so that a later one stops it

// Runs rows of zeros and ones; returns the first that is not right, or null.
function findWrong(comparators, wanted, first, last) {
  const row = new Uint8Array(state.n);
  for (let bits = first; bits < last; ++bits) {
    let zeros = 0;
    for (let i = 0; i < state.n; ++i) zeros += 1 - (row[i] = (bits >> i) & 1);
    for (const { low, high } of comparators) {
      if (row[low] > row[high]) {
        row[low] = 0;
        row[high] = 1;
      }
    }
    for (const position of wanted) {
      if (row[position] !== (position < zeros ? 0 : 1)) return bits;
    }
  }
  return null;
}

function prove() {
  const own = ++proof;
  if (state.n > MAX_PROOF) {
    $("proof").textContent = `Choose ${MAX_PROOF} values or fewer: ${state.n} have 2^${state.n} rows.`;
    return;
  }
  const comparators = kernel.steps.flat().filter(runs), wanted = wantedPositions(), total = 2 ** state.n;
  const next = (done) => {
    if (own !== proof) return;
    const last = Math.min(done + CHUNK, total);
    const wrong = findWrong(comparators, wanted, done, last);
    if (wrong !== null) {
      const row = [...Array(state.n).keys()].map((i) => (wrong >> i) & 1).join(" ");
      $("proof").textContent = `Not proved: the row ${row} comes out wrong.`;
    } else if (last < total) {
      $("proof").textContent = `${last} of ${total} rows`;
      setTimeout(next, 0, last);
    } else {
      $("proof").textContent = `Proved: all ${total} rows of zeros and ones come out right` +
        `${wanted.length < state.n ? " at the positions that are needed" : ""}.`;
    }
  };
  next(0);
}

// -- controls -------------------------------------------------------------------------------------

let timer = 0;

function stop() {
  clearInterval(timer);
  timer = 0;
  $("play").textContent = "▶ Play";
  $("play").setAttribute("aria-label", "Play");
}

function play() {
  if (timer) return stop();
  if (state.step >= depth()) goTo(0);
  $("play").textContent = "Ⅱ Pause";
  $("play").setAttribute("aria-label", "Pause");
  timer = setInterval(() => (state.step < depth() ? goTo(state.step + 1) : stop()), 900);
}

function goTo(step) {
  state.step = Math.max(0, Math.min(step, depth()));
  for (const each of [kernel, bitonic]) each.move(state.step);
  $("step").value = state.step;
  $("step").setAttribute("aria-valuetext", `${state.step} of ${depth()}`);
  for (const id of ["first", "back"]) $(id).disabled = state.step === 0;
  for (const id of ["forward", "last"]) $(id).disabled = state.step === depth();
  $("remove").disabled = !(kernel.steps[state.step - 1] ?? []).some(runs);
  $("restore").disabled = state.removed.size === 0;
  showStatus();
  writeLink();
}

// Shows the state; whatever changes it calls this.
function show() {
  ++proof;
  $("proof").textContent = "";
  for (const name of ["n", "k"]) {
    $(name).value = state[name];
    $(`${name}-shown`).textContent = state[name];
  }
  for (const name of ["op", "order", "target"]) $(name).value = state[name];
  $("k").max = state.n;
  $("k-label").hidden = state.op !== "top_k";
  if (document.activeElement !== $("values")) $("values").value = state.values.map(textOf).join(", ");
  kernel.draw(`On ${target().title}: ${kernelTitle()}`);
  bitonic.draw("Bitonic (Batcher)");
  $("step").max = depth();
  showResult();
  showCounts();
  goTo(state.step);
}

function change(changes) {
  stop();
  Object.assign(state, { step: 0, removed: new Set() }, changes);
  fitValues();
  $("problem").textContent = "";
  show();
}

function readValues() {
  const values = parseValues($("values").value);
  if (!Array.isArray(values)) {
    $("problem").textContent = `The row: expected numbers, NaN, inf or -inf, got "${values}".`;
  } else if (values.length < 2 || values.length > data.longest) {
    $("problem").textContent = `The row: expected 2 to ${data.longest} values, got ${values.length}.`;
  } else {
    change({ values, n: values.length });
  }
}

function listen() {
  $("n").max = data.longest;
  for (const each of data.targets) $("target").append(new Option(each.title, each.id));
  $("n").addEventListener("input", () => change({ n: Number($("n").value) }));
  $("k").addEventListener("input", () => change({ k: Number($("k").value) }));
  // The k first of top_k are usually the largest.
  $("op").addEventListener("change", () =>
    change({ op: $("op").value, order: $("op").value === "top_k" ? "descending" : "ascending" }));
  for (const name of ["order", "target"]) {
    $(name).addEventListener("change", () => change({ [name]: $(name).value }));
  }
  $("values").addEventListener("input", readValues);
  $("values").addEventListener("blur", () => {
    $("values").value = state.values.map(textOf).join(", ");
    $("problem").textContent = "";
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("shuffle").addEventListener("click", () => {
    const values = [...state.values];
    shuffle(values);
    change({ values });
  });
  $("ties").addEventListener("click", () =>
    change({ values: state.values.map(() => Math.floor(Math.random() * 4)) }));
  $("special").addEventListener("click", () => {
    const values = [NaN, -0, 0, Infinity, -Infinity, ...state.values.map(randomValue)].slice(0, state.n);
    shuffle(values);
    change({ values });
  });
  const jumps = { first: () => 0, back: () => state.step - 1, forward: () => state.step + 1, last: depth };
  for (const [id, where] of Object.entries(jumps)) {
    $(id).addEventListener("click", () => {
      stop();
      goTo(where());
    });
  }
  $("play").addEventListener("click", play);
  $("step").addEventListener("input", () => {
    stop();
    goTo(Number($("step").value));
  });
  $("prove").addEventListener("click", prove);
  $("remove").addEventListener("click", () => {
    const { name } = kernel.steps[state.step - 1].find(runs);
    state.removed.add(name);
    show();
  });
  $("restore").addEventListener("click", () => {
    state.removed = new Set();
    show();
  });
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", writeLink);
  window.addEventListener("hashchange", () => {
    stop();
    readLink();
    show();
  });
}

function onKey(event) {
  if (event.target.closest("input, select, button") || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    ArrowLeft: () => goTo(state.step - 1), ArrowRight: () => goTo(state.step + 1),
    Home: () => goTo(0), End: () => goTo(depth()), " ": play,
  };
  if (!(event.key in keys)) return;
  event.preventDefault();
  if (event.key !== " ") stop();
  keys[event.key]();
}

// -- a page around this one ------------------------------------------------------------------------

function tellAround(message) {
  if (parent !== window) parent.postMessage(message, "*");
}

// Dark or light: as the page around this one says, else as the system.
function followTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = "auto";
  const apply = () => {
    const isDark = chosen === "dark" || (chosen !== "light" && system.matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
  };
  window.addEventListener("message", ({ data, source }) => {
    if (source !== parent || !data.theme) return;
    chosen = data.theme;
    apply();
  });
  system.addEventListener("change", apply);
  apply();
  tellAround({ isReady: true });
}

followTheme();
listen();
readLink();
show();
