"use strict";
// The toolbox of the pages. A topic's script ends with one call:
//
//   explain.start({
//     compute(settings) { … return model; }        // from the numbers of the form; throw new Error(words) if impossible
//     numbers(model) { return {H: 7, …}; }         // fills the equations' templates
//     steps(model) { return 16; }
//     show(model, step) { explain.grid("input", {…}); return "what this step does, in words, with its equation"; }
//     check(model) { return explain.same(model.y, explain.data.y); }    // against the library's result, once
//   });
//
// grid(id, …) draws into the element #id of the page, as an SVG picture with a description for screen readers.

const explain = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const drawn = {}; // panel id → the grid drawn last, for the tables
  let topic, model, step = 0, timer = null;

  // --- numbers and elements ---

  /** As page.py writes it: whole, or at most four decimals, with a true minus sign. A text stays. */
  function shown(value) {
    if (typeof value !== "number") return String(value);
    const text = value.toFixed(4).replace(/\.?0+$/, "");
    return (text === "-0" ? "0" : text).replace("-", "−");
  }

  /** "K = {K}" → "K = 3". */
  function filled(template, numbers) {
    return template.replace(/\{(\w+)\}/g, (_, name) => shown(numbers[name]));
  }

  /** Equal to within the rounding of floating point; nested lists. */
  function same(a, b) {
    if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((each, i) => same(each, b[i]));
    if (typeof a !== "number" || a === b) return a === b;
    return Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));
  }

  // The numbers in the grids, for any size: the same formulas as in patterns.py.
  const image = (h, w, c = 0) => (3 * h + 7 * w + 2 * h * w + 4 * c + 1) % 10;
  const kernel = (i, j, c = 0) => ((2 * i + j + i * j + c) % 5) - 2;
  const gradient = (h, w) => ((2 * h + 3 * w) % 5) + 1;

  /** As a factor in a sum: negative numbers in brackets. */
  function signed(value) {
    return value < 0 ? `(${shown(value)})` : shown(value);
  }

  /** [1, 2, 3] → "1, 2 and 3". */
  function list(values) {
    const words = values.map(shown);
    return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
  }

  function array(rows, columns, value) {
    return Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => value(r, c)));
  }

  /** An element with attributes and children; name "svg:rect" makes an SVG one. */
  function element(name, attributes = {}, ...children) {
    const svg = name.startsWith("svg:");
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // --- figures ---

  /**
   * Put a picture into the panel #id: title above it, label read aloud instead of it, children of the SVG,
   * drawn `scale` times as large as its own units say (it shrinks where the screen is narrow).
   */
  function picture(id, { title, label, width, height, children, scale = 1 }) {
    const svg = element("svg:svg", {
      role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width: width * scale, height: height * scale,
    }, ...children);
    const panel = byId(id), scrolled = panel.scrollLeft;
    panel.replaceChildren(...(title ? [element("h3", {}, title)] : []), svg);
    panel.scrollLeft = scrolled;
    return svg;
  }

  /**
   * A grid of numbers.
   *   values   list of rows; null leaves a cell empty
   *   first    [row, column] that the first cell stands for; negative where padding comes first
   *   size     [rows, columns] without padding; cells outside are grey and dashed
   *   look     (row, column) → "", "read", "write", "back", "best": how the cell is marked
   *   label    what the grid shows now, in words
   *   cell     its width and height; small grids may be large
   *   heads    whether row and column numbers stand at the edge
   */
  function grid(id, { title, label, values, first = [0, 0], size, look = () => "", cell = 40, heads = true }) {
    const rows = values.length, columns = values[0].length, margin = heads ? 20 : 2;
    size = size || [rows + first[0], columns + first[1]];
    const back = [], front = [], texts = [];
    if (heads) {
      for (let c = 0; c < columns; c++) texts.push(text(margin + (c + 0.5) * cell, 12, shown(c + first[1]), 11, "faint"));
      for (let r = 0; r < rows; r++) texts.push(text(8, margin + (r + 0.5) * cell, shown(r + first[0]), 11, "faint"));
    }
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
      const row = r + first[0], column = c + first[1], mark = look(row, column);
      const outside = row < 0 || column < 0 || row >= size[0] || column >= size[1];
      const box = element("svg:rect", {
        x: margin + c * cell, y: margin + r * cell, width: cell, height: cell,
        class: `cell${outside ? " outside" : ""}${mark ? " " + mark : ""}`,
      });
      (mark ? front : back).push(box);
      const value = values[r][c];
      if (value === null || value === undefined) continue;
      const words = shown(value);
      const number = text(margin + (c + 0.5) * cell, margin + (r + 0.5) * cell, words, fit(words, cell), outside && !mark ? "faint" : "");
      number.setAttribute("data-cell", `${row},${column}`);
      texts.push(number);
    }
    drawn[id] = { title, values, first };
    const svg = picture(id, {
      title, label, width: margin + columns * cell + 3, height: margin + rows * cell + 3, children: [...back, ...front, ...texts],
    });
    svg.style.minWidth = `${Math.min(cell, 22) * columns}px`; // on a phone, a large grid scrolls rather than becoming too small to read
    return svg;
  }

  /** As many panels as wanted inside #id, called id-0, id-1 …: for grids whose number the reader chooses. */
  function panels(id, wanted) {
    const parent = byId(id);
    while (parent.children.length > wanted) parent.lastChild.remove();
    while (parent.children.length < wanted) parent.append(element("div", { class: "panel", id: `${id}-${parent.children.length}` }));
  }

  /** Where the picture #id is wider than its box, scroll so that what lies at x, from 0 to 1 of its width, is seen. */
  function bringIntoView(id, x) {
    const box = byId(id).closest(".scroll") || byId(id);
    const at = x * byId(id).querySelector("svg").getBoundingClientRect().width;
    if (at < box.scrollLeft + 60 || at > box.scrollLeft + box.clientWidth - 60) box.scrollLeft = at - box.clientWidth / 2;
  }

  /** Centred text. */
  function text(x, y, words, size = 16, kind = "") {
    return element("svg:text", {
      x, y, "font-size": size, "text-anchor": "middle", "dominant-baseline": "central", class: kind || undefined,
    }, words);
  }

  /** The font size at which the words fit into a cell. */
  function fit(words, cell) {
    return Math.min(cell * 0.42, (cell * 0.92) / (words.length * 0.58));
  }

  /** Numbers for the tables below the figure, where the picture #id shows them otherwise than as a grid. */
  function table(id, { title, heads, values }) {
    drawn[id] = { title, heads, values, first: [0, 0] };
  }

  /** Every grid as a table, for those who would rather read or copy the numbers. */
  function tables() {
    if (!byId("tables") || !byId("tables").open) return;
    const seen = Object.entries(drawn).filter(([id]) => byId(id) && byId(id).isConnected);
    byId("tables-inside").replaceChildren(...seen.map(([id, { title, values, first, heads }]) => {
      const head = element("tr", {}, element("td"), ...values[0].map((_, c) => element("th", { scope: "col" }, heads ? heads[c] : shown(c + first[1]))));
      const body = values.map((row, r) => element("tr", {}, element("th", { scope: "row" }, shown(r + first[0])),
        ...row.map((value) => element("td", {}, value === null || value === undefined ? "" : shown(value)))));
      const table = element("table", { "data-panel": id }, element("caption", {}, title || id), head, ...body);
      return element("div", { class: "table", tabindex: 0, role: "region", "aria-label": title || id }, table);
    }));
  }

  // --- the form ---

  function settings() {
    const values = {};
    for (const { name, label, least, most, choices } of data.settings) {
      const control = byId(`set-${name}`);
      if (choices) { values[name] = control.value; continue; }
      const value = Number(control.value);
      const wrong = control.value.trim() === "" || !Number.isInteger(value) || value < least || value > most;
      control.setAttribute("aria-invalid", wrong);
      if (wrong) throw new Error(`${label}: a whole number from ${least} to ${most}, please`);
      values[name] = value;
    }
    return values;
  }

  function changed() {
    pause();
    try {
      const next = topic.compute(settings());
      model = next;
      problem("");
    } catch (error) {
      problem(error.message);
      return;
    }
    const numbers = topic.numbers ? topic.numbers(model) : {};
    if (topic.numbers) byId("equations").replaceChildren(...data.equations.map((line) => element("p", {}, filled(line, numbers))));
    const last = count() - 1;
    if (byId("step")) byId("step").max = last;
    go(Math.min(step, last));
  }

  function problem(words) {
    byId("problem").hidden = !words;
    byId("problem").textContent = words;
    byId("figure").style.opacity = words ? 0.4 : 1; // what is still seen belongs to the sizes before
  }

  // --- steps ---

  function count() {
    return topic.steps ? topic.steps(model) : 1;
  }

  function go(to) {
    step = Math.max(0, Math.min(count() - 1, to));
    const words = topic.show(model, step);
    if (byId("words")) byId("words").textContent = words || "";
    if (byId("stepper")) {
      byId("step").value = step;
      byId("step").setAttribute("aria-valuetext", `step ${step + 1} of ${count()}`);
      byId("step-text").textContent = `${step + 1} of ${count()}`;
      // not `disabled`: a button that has just been pressed would lose the focus
      for (const id of ["first", "previous"]) byId(id).setAttribute("aria-disabled", step === 0);
      byId("next").setAttribute("aria-disabled", step === count() - 1);
    }
    tables();
  }

  function pause() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    byId("words").setAttribute("aria-live", "polite");
    byId("play").textContent = "play";
  }

  function play() {
    if (timer !== null) return pause();
    if (step === count() - 1) go(0);
    byId("words").setAttribute("aria-live", "off"); // a screen reader could not keep up
    byId("play").textContent = "pause";
    const slow = matchMedia("(prefers-reduced-motion: reduce)").matches;
    timer = setInterval(() => {
      go(step + 1);
      if (step === count() - 1) pause();
    }, slow ? 2500 : 900);
  }

  function listen() {
    const form = byId("settings");
    if (form) {
      form.addEventListener("submit", (event) => event.preventDefault());
      form.addEventListener("input", changed);
      for (const button of form.querySelectorAll("button[data-for]")) button.addEventListener("click", () => {
        const control = byId(button.dataset.for);
        const value = Number(control.value) + Number(button.dataset.by);
        control.value = Math.max(Number(control.min), Math.min(Number(control.max), value));
        changed();
      });
    }
    byId("tables").addEventListener("toggle", tables);
    if (!byId("stepper")) return;
    byId("first").addEventListener("click", () => { pause(); go(0); });
    byId("previous").addEventListener("click", () => { pause(); go(step - 1); });
    byId("next").addEventListener("click", () => { pause(); go(step + 1); });
    byId("play").addEventListener("click", play);
    byId("step").addEventListener("input", () => { pause(); go(Number(byId("step").value)); });
    document.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (event.target.closest("input, select, textarea, .scroll, .table")) return; // they use these keys themselves
      const moves = { ArrowLeft: step - 1, ArrowRight: step + 1, Home: 0, End: count() - 1 };
      if (event.key in moves) { pause(); go(moves[event.key]); event.preventDefault(); }
      else if (event.key === " " && !event.target.closest("button, summary, a")) { play(); event.preventDefault(); }
    });
  }

  function start(wanted) {
    topic = wanted;
    listen();
    changed();
    if (!topic.check || !model) return;
    byId("checked").textContent = topic.check(model)
      ? "The numbers of this page, computed here, equal those that scratchfcn computed when it was made."
      : "Warning: the numbers computed in this page differ from those of scratchfcn. Please report it.";
  }

  return { data, start, grid, table, picture, panels, bringIntoView, element, text, shown, signed, list, filled, same, array, image, kernel, gradient, byId, go };
})();
