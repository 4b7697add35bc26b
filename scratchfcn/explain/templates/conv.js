explain.start({
  compute({ height: H, width: W, kernel: K, stride: s, padding: p, dilation: d }) {
    const span = d * (K - 1) + 1;
    const OH = Math.floor((H + 2 * p - span) / s) + 1, OW = Math.floor((W + 2 * p - span) / s) + 1;
    if (OH < 1 || OW < 1) throw new Error(
      `The kernel covers ${span} rows and columns, but the padded input has only ${H + 2 * p}×${W + 2 * p}: pad more, or use a smaller kernel.`);
    const x = explain.array(H, W, (h, w) => explain.image(h, w)), w = explain.array(K, K, (i, j) => explain.kernel(i, j));
    const read = (row, column) => (x[row] && x[row][column]) || 0; // beyond the edge lie zeros
    const window = (oh, ow) => explain.array(K, K, (i, j) => [oh * s + i * d - p, ow * s + j * d - p]).flat();
    const y = explain.array(OH, OW, (oh, ow) => window(oh, ow).reduce((sum, [r, c], k) => sum + w.flat()[k] * read(r, c), 0));
    return { H, W, K, s, p, d, span, OH, OW, x, w, y, read, window };
  },

  numbers: (model) => model,

  check: (model) => explain.same(model.y, explain.data.y),

  steps: ({ OH, OW }) => OH * OW,

  show({ H, W, K, s, p, d, OW, OH, w, y, read, window }, step) {
    const oh = Math.floor(step / OW), ow = step % OW, places = window(oh, ow);
    const under = new Set(places.map(String));
    const rows = `rows ${explain.list(places.filter((_, k) => k % K === 0).map(([r]) => r))}`;
    const columns = `columns ${explain.list(places.slice(0, K).map(([, c]) => c))}`;
    explain.grid("input", {
      title: `input x, ${H}×${W}${p ? `, padded by ${p}` : ""}`,
      label: `Input, ${H} by ${W}${p ? ` with ${p} rows and columns of zeros around it` : ""}. The window reads ${rows} and ${columns}.`,
      values: explain.array(H + 2 * p, W + 2 * p, (r, c) => read(r - p, c - p)),
      first: [-p, -p], size: [H, W],
      look: (r, c) => (under.has(`${r},${c}`) ? "read" : ""),
    });
    explain.bringIntoView("input", (places[Math.floor(places.length / 2)][1] + p + 0.5) / (W + 2 * p));
    explain.grid("kernel", { title: `kernel w, ${K}×${K}`, label: `Kernel, ${K} by ${K} weights.`, values: w, look: () => "read" });
    explain.grid("output", {
      title: `output y, ${OH}×${OW}`,
      label: `Output, ${OH} by ${OW}. Pixel row ${oh}, column ${ow} is written now: ${explain.shown(y[oh][ow])}.`,
      values: y.map((row, r) => row.map((value, c) => (r * OW + c <= step ? value : null))),
      look: (r, c) => (r === oh && c === ow ? "write" : ""),
    });
    const products = places.map(([r, c], k) => `${explain.shown(read(r, c))}·${explain.signed(w.flat()[k])}`).join(" + ");
    return `y[${oh},${ow}]: rows ${oh}·${s} + i·${d} − ${p}, columns ${ow}·${s} + j·${d} − ${p}. ${products} = ${explain.shown(y[oh][ow])}`;
  },
});
