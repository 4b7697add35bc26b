explain.start({
  compute({ height: H, width: W, kernel: K, stride: s, padding: p, output_padding: e, dilation: d }) {
    if (e >= Math.max(s, d)) throw new Error(
      `Extra rows e = ${e} have to be fewer than the stride ${s} or the dilation ${d}: with more, a convolution would not lead back to ${H} rows.`);
    const span = d * (K - 1) + 1, OH = (H - 1) * s - 2 * p + span + e, OW = (W - 1) * s - 2 * p + span + e;
    if (OH < 1 || OW < 1) throw new Error(`Padding ${p} cuts everything off: nothing is left. Use less.`);
    const x = explain.array(H, W, (h, w) => explain.image(h, w)), w = explain.array(K, K, (i, j) => explain.kernel(i, j));
    const stamp = (h, c) => explain.array(K, K, (i, j) => [h * s + i * d - p, c * s + j * d - p]).flat();
    const rows = Math.max((H - 1) * s + span, OH + p), columns = Math.max((W - 1) * s + span, OW + p); // before cutting
    const sums = (last) => { // what stamps 0..last add up to, with the border that is cut off
      const total = explain.array(rows, columns, () => 0);
      for (let t = 0; t <= last; t++) {
        const [h, c] = [Math.floor(t / W), t % W];
        stamp(h, c).forEach(([r, q], k) => { total[r + p][q + p] += x[h][c] * w.flat()[k]; });
      }
      return total;
    };
    const back = (size) => Math.floor((size + 2 * p - span) / s) + 1;
    return { H, W, K, s, p, e, d, span, OH, OW, x, w, stamp, sums, back_h: back(OH), back_w: back(OW) };
  },

  numbers: (model) => model,

  check({ H, W, OH, OW, p, sums }) {
    return explain.same(sums(H * W - 1).slice(p, p + OH).map((row) => row.slice(p, p + OW)), explain.data.y);
  },

  steps: ({ H, W }) => H * W,

  show({ H, W, K, s, p, OH, OW, x, w, stamp, sums }, step) {
    const h = Math.floor(step / W), c = step % W, places = stamp(h, c), under = new Set(places.map(String));
    const rows = explain.list(places.filter((_, k) => k % K === 0).map(([r]) => r));
    const columns = explain.list(places.slice(0, K).map(([, q]) => q));
    const value = explain.signed(x[h][c]), total = sums(step);
    explain.grid("input", {
      title: `input x, ${H}×${W}`, label: `Input, ${H} by ${W}. Pixel row ${h}, column ${c} is read now: ${explain.shown(x[h][c])}.`,
      values: x, look: (r, q) => (r === h && q === c ? "read" : ""),
    });
    explain.grid("kernel", {
      title: `${value} · w, the stamp`, label: `The stamp: the kernel, ${K} by ${K}, times ${explain.shown(x[h][c])}.`,
      values: w.map((row) => row.map((weight) => x[h][c] * weight + 0)), look: () => "read",
    });
    explain.grid("output", {
      title: `output y, ${OH}×${OW}${p ? `, and the border of ${p} that is cut off` : ""}`,
      label: `Output, ${OH} by ${OW}, the sum of ${step + 1} ${step ? "stamps" : "stamp"} so far. The stamp is added to rows ${rows} and columns ${columns}.`,
      values: total, first: [-p, -p], size: [OH, OW],
      look: (r, q) => (under.has(`${r},${q}`) ? "write" : ""),
    });
    const middle = Math.floor(places.length / 2), [r, q] = places[middle];
    explain.bringIntoView("output", (q + p + 0.5) / total[0].length);
    const before = step ? sums(step - 1)[r + p][q + p] : 0;
    return `x[${h},${c}] = ${explain.shown(x[h][c])} stamps rows ${h}·${s} + i·d − ${p} = ${rows}, columns ${columns}. ` +
      `y[${r},${q}] = ${explain.shown(before)} + ${value}·${explain.signed(w.flat()[middle])} = ${explain.shown(total[r + p][q + p])}`;
  },
});
