explain.start({
  compute({ what, channels: C, height: H, width: W, kernel: K, stride: s, padding: p, dilation: d }) {
    const span = d * (K - 1) + 1;
    const OH = Math.floor((H + 2 * p - span) / s) + 1, OW = Math.floor((W + 2 * p - span) / s) + 1;
    if (OH < 1 || OW < 1) throw new Error(
      `The kernel covers ${span} rows and columns, but the padded input has only ${H + 2 * p}×${W + 2 * p}: pad more, or use a smaller kernel.`);
    const R = C * K * K, T = OH * OW;
    const inside = (r, c) => r >= 0 && c >= 0 && r < H && c < W;
    const pixel = (k, t) => { // what row k of column t is a copy of: [channel, row, column]
      const i = Math.floor(k / K) % K, j = k % K;
      return [Math.floor(k / (K * K)), Math.floor(t / OW) * s + i * d - p, (t % OW) * s + j * d - p];
    };
    const x = Array.from({ length: C }, (_, ch) => explain.array(H, W, (h, w) => explain.image(h, w, ch)));
    const w = Array.from({ length: R }, (_, k) => explain.kernel(Math.floor(k / K) % K, k % K, Math.floor(k / (K * K))));
    const gy = Array.from({ length: T }, (_, t) => explain.gradient(Math.floor(t / OW), t % OW));
    const read = ([ch, r, c]) => (inside(r, c) ? x[ch][r][c] : 0); // beyond the edge lie zeros
    const cols = explain.array(R, T, (k, t) => read(pixel(k, t)));
    const y = gy.map((_, t) => w.reduce((sum, weight, k) => sum + weight * cols[k][t], 0));
    const gcols = explain.array(R, T, (k, t) => w[k] * gy[t]);
    const col2im = (last) => { // the image after columns 0..last are added; with its padding, which is cut off
      const sums = x.map(() => explain.array(H + 2 * p, W + 2 * p, () => 0));
      for (let t = 0; t <= last; t++) for (let k = 0; k < R; k++) {
        const [ch, r, c] = pixel(k, t);
        sums[ch][r + p][c + p] += gcols[k][t];
      }
      return sums;
    };
    return { what, C, H, W, K, p, OH, OW, R, T, pixel, read, w, gy, cols, y, gcols, col2im,
      copies: R * T, pixels: C * H * W, times: (R * T) / (C * H * W) };
  },

  numbers: (model) => model,

  check({ cols, y, col2im, T, p, H, W }) {
    const gx = col2im(T - 1).map((plane) => plane.slice(p, p + H).map((row) => row.slice(p, p + W)));
    const { data } = explain;
    return explain.same(cols, data.cols) && explain.same([y], data.y) && explain.same(gx, data.gx);
  },

  steps: ({ T }) => T,

  show(model, step) {
    const { what, C, H, W, K, p, OW, R, T, pixel, read, w, gy, cols, y, gcols, col2im } = model;
    const forward = what === "im2col";
    const places = Array.from({ length: R }, (_, k) => pixel(k, step));
    const marked = new Set(places.map(String));
    const rows = explain.list([...new Set(places.map(([, r]) => r))]), columns = explain.list([...new Set(places.map(([, , c]) => c))]);
    const where = `rows ${rows}, columns ${columns}`;
    const sums = forward ? null : col2im(step);
    explain.byId("what-title").textContent = forward ? "One window after another becomes a column" : "One column after another is added back";
    explain.panels("images", C);
    for (let ch = 0; ch < C; ch++) explain.grid(`images-${ch}`, {
      title: `${forward ? "input x" : "gradient gx"}${C > 1 ? `, channel ${ch}` : ""}`,
      label: `${forward ? "Input" : "Gradient of the input, so far"}${C > 1 ? `, channel ${ch}` : ""}: ${H} by ${W}${p ? `, padded by ${p}` : ""}. ` +
        `${forward ? "Read" : "Added to"} now: ${where}.`,
      values: explain.array(H + 2 * p, W + 2 * p, (r, c) => (forward ? read([ch, r - p, c - p]) : sums[ch][r][c])),
      first: [-p, -p], size: [H, W],
      look: (r, c) => (marked.has(`${ch},${r},${c}`) ? (forward ? "read" : "write") : ""),
    });
    const column = (_, t) => (t === step ? (forward ? "write" : "read") : "");
    const done = (t) => !forward || t <= step;
    const side = 34;
    explain.grid("row", { title: `w as a row, 1×${R}`, label: `The ${R} weights as one row.`, values: [w], look: () => "read", cell: side });
    explain.grid("cols", {
      title: forward ? `cols, ${R}×${T}` : `gcols = wᵀ @ gy, ${R}×${T}`,
      label: `Matrix of ${R} rows and ${T} columns. Column ${step} is ${forward ? "written" : "read"} now: ` +
        `${explain.list((forward ? cols : gcols).map((row) => row[step]))}.`,
      values: (forward ? cols : gcols).map((row) => row.map((value, t) => (done(t) ? value : null))),
      look: column, cell: side,
    });
    explain.grid("result", forward
      ? { title: `y = w @ cols, 1×${T}`, label: `Output as a row; entry ${step} is ${explain.shown(y[step])}.`,
        values: [y.map((value, t) => (done(t) ? value : null))], look: column, cell: side }
      : { title: `gy as a row, 1×${T}`, label: `The gradient of the output, one row. Entry ${step} is read now.`, values: [gy], look: column, cell: side });
    explain.bringIntoView("cols", (step + 0.5) / T);
    const oh = Math.floor(step / OW), ow = step % OW, t = `column ${oh}·${OW} + ${ow} = ${step}`;
    if (forward) {
      const sum = w.map((weight, k) => `${explain.signed(weight)}·${explain.shown(cols[k][step])}`).join(" + ");
      return `y[${oh},${ow}] is ${t}: the window at ${where}. w @ column = ${sum} = ${explain.shown(y[step])}`;
    }
    const [ch, r, c] = places[0]; // one pixel's sum, spelt out
    const parts = [];
    for (let u = 0; u <= step; u++) for (let k = 0; k < R; k++) if (String(pixel(k, u)) === String([ch, r, c])) parts.push(gcols[k][u]);
    const pixelName = `gx[${C > 1 ? `${ch},` : ""}${r},${c}]`;
    return `${t} is added to ${where}. ${pixelName} = ${parts.map(explain.signed).join(" + ")} = ${explain.shown(sums[ch][r + p][c + p])} so far: ` +
      `it lies in ${parts.length} of the windows up to here.`;
  },
});
