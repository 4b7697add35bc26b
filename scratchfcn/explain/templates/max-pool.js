explain.start({
  compute({ height: H, width: W, kernel: K, stride: s, padding: p, rounding }) {
    if (2 * p > K) throw new Error(`Padding ${p} is more than half the window of ${K}: some windows would see nothing but padding.`);
    const ceil = rounding === "ceil";
    const outputs = (size) => {
      const room = size + 2 * p - K;
      const out = (ceil ? Math.ceil(room / s) : Math.floor(room / s)) + 1;
      return ceil && (out - 1) * s >= size + p ? out - 1 : out; // the last window has to start on the image or before it
    };
    const OH = outputs(H), OW = outputs(W);
    if (OH < 1 || OW < 1) throw new Error(
      `The window of ${K}×${K} does not fit into the padded input of ${H + 2 * p}×${W + 2 * p}: use a smaller one.`);
    const x = explain.array(H, W, (h, w) => explain.image(h, w));
    const read = (r, c) => (r >= 0 && c >= 0 && r < H && c < W ? x[r][c] : -Infinity);
    const window = (oh, ow) => explain.array(K, K, (i, j) => [oh * s + i - p, ow * s + j - p]).flat();
    // the winner: the first in reading order that no other exceeds
    const winner = explain.array(OH, OW, (oh, ow) => window(oh, ow).reduce((best, place) => (read(...place) > read(...best) ? place : best)));
    const y = winner.map((row) => row.map((place) => read(...place)));
    const gy = explain.array(OH, OW, (oh, ow) => explain.gradient(oh, ow));
    const parts = (r, c, last) => { // what pixel (r, c) of gx got from windows 0..last
      const got = [];
      for (let t = 0; t <= last; t++) {
        const [oh, ow] = [Math.floor(t / OW), t % OW];
        if (String(winner[oh][ow]) === String([r, c])) got.push(gy[oh][ow]);
      }
      return got;
    };
    const routed = (last) => explain.array(H, W, (r, c) => parts(r, c, last).reduce((sum, g) => sum + g, 0));
    return { H, W, K, s, p, OH, OW, x, read, window, winner, y, gy, parts, routed,
      total: gy.flat().reduce((sum, g) => sum + g, 0), open: ceil ? "⌈" : "⌊", close: ceil ? "⌉" : "⌋",
      note: ceil ? " (a window that starts behind the image does not count)" : "" };
  },

  numbers: (model) => model,

  check: ({ y, routed, OH, OW }) => explain.same(y, explain.data.y) && explain.same(routed(OH * OW - 1), explain.data.gx),

  steps: ({ OH, OW }) => 2 * OH * OW, // every window forward, then every window backward

  show({ H, W, K, s, p, OH, OW, read, window, winner, y, gy, parts, routed }, step) {
    const T = OH * OW, back = step >= T, t = step % T, oh = Math.floor(t / OW), ow = t % OW;
    const places = window(oh, ow), under = new Set(places.map(String)), [r, c] = winner[oh][ow];
    // what the last windows reach, more than the padding where one hangs over the edge
    const rows = Math.max(H + p, (OH - 1) * s + K - p), columns = Math.max(W + p, (OW - 1) * s + K - p);
    const here = (row, column) => row === oh && column === ow;
    explain.grid("input", {
      title: `input x, ${H}×${W}`,
      label: `Input, ${H} by ${W}. The window of output pixel ${oh}, ${ow} has its largest number, ${explain.shown(y[oh][ow])}, at row ${r}, column ${c}.`,
      values: explain.array(rows + p, columns + p, (i, j) => (read(i - p, j - p) === -Infinity ? "−∞" : read(i - p, j - p))),
      first: [-p, -p], size: [H, W],
      look: (i, j) => (i === r && j === c ? "best" : !back && under.has(`${i},${j}`) ? "read" : ""),
    });
    explain.bringIntoView("input", (c + p + 0.5) / (columns + p));
    explain.grid("output", {
      title: `output y, ${OH}×${OW}`,
      label: `Output, ${OH} by ${OW}. ${back ? "Complete." : `Pixel ${oh}, ${ow} is written now: ${explain.shown(y[oh][ow])}.`}`,
      values: y.map((row, i) => row.map((value, j) => (back || i * OW + j <= t ? value : null))),
      look: (i, j) => (!back && here(i, j) ? "write" : ""),
    });
    explain.grid("gy", {
      title: `gradient gy, ${OH}×${OW}, given`,
      label: `Gradient of the output, given. ${back ? `Pixel ${oh}, ${ow} sends ${gy[oh][ow]} back.` : "Not used yet."}`,
      values: gy.map((row) => row.map((value) => (back ? value : null))),
      look: (i, j) => (back && here(i, j) ? "back" : ""),
    });
    const sums = back ? routed(t) : null;
    explain.grid("gx", {
      title: `gradient gx, ${H}×${W}`,
      label: `Gradient of the input. ${back ? `Row ${r}, column ${c} receives ${gy[oh][ow]}.` : "Empty until the way back."}`,
      values: explain.array(H, W, (i, j) => (back ? sums[i][j] : null)),
      look: (i, j) => (back && i === r && j === c ? "back" : ""),
    });
    if (!back) {
      const seen = places.map((place) => (read(...place) === -Infinity ? "−∞" : explain.shown(read(...place)))).join(", ");
      return `Forward: y[${oh},${ow}] = max(${seen}) = ${explain.shown(y[oh][ow])}, at x[${r},${c}]`;
    }
    const got = parts(r, c, t);
    const sum = got.length > 1 ? `${got.join(" + ")} = ` : "";
    return `Backward: gy[${oh},${ow}] = ${gy[oh][ow]} goes to the winner x[${r},${c}]. gx[${r},${c}] = ${sum}${sums[r][c]}; the other ${K * K - 1} of its window get nothing from it.`;
  },
});
