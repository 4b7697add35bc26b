{
  const { data, byId, element, shown, array } = explain;
  const R = data.rows, C = data.columns, IGNORE = data.ignore, MOST = data.scores.length;
  // what the sliders say: scores[k][r][c], labels[r][c], weights[k]; a smaller K only hides what is beyond it
  const scores = data.scores.map((map) => map.map((row) => row.slice()));
  const weights = Array(MOST).fill(1);
  let labels = null;
  let now = 0;

  const firstLabels = (K) => array(R, C, (r, c) => (r === R - 1 && c === C - 1 ? IGNORE : (r * C + c) % K));
  const again = () => byId("settings").dispatchEvent(new Event("input"));
  const sum = (values) => values.reduce((a, b) => a + b, 0);

  function slider(id, words, least, most, value, changed) {
    const output = element("output", { for: id, class: "mono" }, shown(value));
    const input = element("input", { id, type: "range", min: least, max: most, step: 0.1, value });
    input.addEventListener("input", () => { output.textContent = shown(Number(input.value)); changed(Number(input.value)); });
    return element("label", { for: id }, element("span", {}, words, output), input);
  }

  /** The sliders of one pixel; made anew only when another pixel or number of classes is shown, so that the focus stays. */
  function controls({ K }, pixel) {
    const r = Math.floor(pixel / C), c = pixel % C, key = `${K},${pixel}`;
    if (byId("scores").dataset.key === key) return;
    byId("scores").dataset.key = key;
    byId("which").value = pixel;
    byId("scores").replaceChildren(...scores.slice(0, K).map((map, k) =>
      slider(`score-${k}`, `score x_${k} = `, -6, 6, map[r][c], (value) => { scores[k][r][c] = value; again(); })));
    const options = [...Array(K).keys()].map((k) => element("option", { value: k }, `class ${k}`));
    byId("truth").replaceChildren(...options, element("option", { value: IGNORE }, `${IGNORE}: ignored`));
    byId("truth").value = labels[r][c];
    if (byId("weights").children.length !== K) byId("weights").replaceChildren(...weights.slice(0, K).map((w, k) =>
      slider(`weight-${k}`, `weight w_${k} = `, 0, 5, w, (value) => { weights[k] = value; again(); })));
  }

  byId("which").replaceChildren(...[...Array(R * C).keys()].map((i) =>
    element("option", { value: i }, `row ${Math.floor(i / C)}, column ${i % C}`)));
  byId("which").addEventListener("input", () => explain.go(Number(byId("which").value)));
  byId("truth").addEventListener("input", () => {
    labels[Math.floor(now / C)][now % C] = Number(byId("truth").value);
    again();
  });

  /** One bar for each class, with its number; to the left where negative. */
  function bars(id, title, label, values, t, kind, reach) {
    const line = 34, width = 330, left = 104, room = 140, zero = kind === "gradient" ? left + room / 2 : left;
    const scale = (kind === "gradient" ? room / 2 : room) / reach;
    const children = values.flatMap((value, k) => {
      const length = Math.max(Math.abs(value) * scale, 0.5), y = 6 + k * line;
      const words = element("svg:text", { x: left + room + 8, y: y + 13, "font-size": 15, "dominant-baseline": "central" }, shown(value));
      const name = element("svg:text", { x: 0, y: y + 13, "font-size": 15, "dominant-baseline": "central", "font-weight": k === t ? 700 : 400 },
        `class ${k}${k === t ? " = t" : ""}`);
      return [name, element("svg:rect", { x: value < 0 ? zero - length : zero, y, width: length, height: 26, class: `bar ${kind}` }), words];
    });
    children.push(element("svg:line", { x1: zero, x2: zero, y1: 2, y2: 4 + values.length * line, class: "axis" }));
    explain.picture(id, { title, label, width, height: 6 + values.length * line, children });
  }

  explain.start({
    compute({ classes: K, reduction }) {
      if (!labels || labels.K !== K) { labels = firstLabels(K); labels.K = K; }
      const p = array(R, C, (r, c) => {
        const x = scores.slice(0, K).map((map) => map[r][c]), largest = Math.max(...x);
        const e = x.map((value) => Math.exp(value - largest)), total = sum(e);
        return e.map((value) => value / total);
      });
      const kept = array(R, C, (r, c) => [r, c]).flat().filter(([r, c]) => labels[r][c] !== IGNORE);
      const weight = array(R, C, (r, c) => (labels[r][c] === IGNORE ? 0 : weights[labels[r][c]]));
      const total = reduction === "mean" ? sum(weight.flat()) || 1 : 1;
      const own = array(R, C, (r, c) => (labels[r][c] === IGNORE ? 0 : -Math.log(p[r][c][labels[r][c]])));
      const loss = sum(kept.map(([r, c]) => weight[r][c] * own[r][c])) / total;
      const gradient = [...Array(K).keys()].map((k) => array(R, C, (r, c) =>
        ((p[r][c][k] - (k === labels[r][c] ? 1 : 0)) * weight[r][c]) / total));
      const all = [...Array(K).keys()].map((k) => array(R, C, (r, c) => p[r][c][k]));
      return { K, reduction, p, kept, weight, total, own, loss, gradient, all };
    },

    numbers: ({ reduction, kept, weight, total, own, loss }) => ({
      reduction, total, loss,
      total_sum: reduction === "mean" ? kept.map(([r, c]) => shown(weight[r][c])).join(" + ") || "1 (no pixel counts)" : "1",
      terms: kept.map(([r, c]) => `${shown(weight[r][c])}·${shown(own[r][c])}`).join(" + ") || "0",
    }),

    check: ({ loss, gradient, all }) =>
      explain.same(loss, data.loss) && explain.same(gradient, data.gradient) && explain.same(all, data.probabilities),

    steps: () => R * C,

    show(model, step) {
      const { K, p, weight, total, own, gradient } = model, r = Math.floor(step / C), c = step % C, t = labels[r][c];
      now = step;
      controls(model, step);
      const here = (row, column) => (row === r && column === c ? "write" : labels[row][column] === IGNORE ? "outside" : "");
      explain.grid("labels", {
        title: "true class t", label: `True classes of ${R} by ${C} pixels: ${labels.flat().map((v) => (v === IGNORE ? "ignored" : v)).join(", ")}. Pixel row ${r}, column ${c} is chosen.`,
        values: labels, look: here, cell: 58,
      });
      explain.grid("losses", {
        title: "loss of the pixel", label: `The pixels' losses: ${array(R, C, (y, x) => (labels[y][x] === IGNORE ? "none" : shown(own[y][x]))).flat().join(", ")}.`,
        values: array(R, C, (y, x) => (labels[y][x] === IGNORE ? null : own[y][x])), look: here, cell: 58,
      });
      const g = gradient.map((map) => map[r][c]), reach = Math.max(...g.map(Math.abs), 1e-9);
      bars("probabilities", `probabilities p of pixel (${r}, ${c})`, `Probabilities of pixel ${r}, ${c}: ${p[r][c].map((v, k) => `class ${k} ${shown(v)}`).join(", ")}.`, p[r][c], t, "probability", 1);
      bars("gradients", "gradient by its scores", `Gradient by the scores of pixel ${r}, ${c}: ${g.map((v, k) => `class ${k} ${shown(v)}`).join(", ")}.`, g, t, "gradient", reach);
      const below = scores.slice(0, K).map((map) => `e^${explain.signed(map[r][c])}`);
      if (t === IGNORE) return `Pixel (${r}, ${c}) is labelled ${IGNORE}: ignored. No loss, and its gradient is 0, whatever its scores.`;
      return `Pixel (${r}, ${c}), t = ${t}: p_t = ${below[t]} / (${below.join(" + ")}) = ${shown(p[r][c][t])}. ` +
        `Loss −log ${shown(p[r][c][t])} = ${shown(own[r][c])}. Gradient of x_${t}: (${shown(p[r][c][t])} − 1)·${shown(weight[r][c])} / ${shown(total)} = ${shown(g[t])}` +
        `; of the others p_k·${shown(weight[r][c])} / ${shown(total)}.`;
    },
  });
}
