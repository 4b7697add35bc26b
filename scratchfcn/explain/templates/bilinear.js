explain.start({
  compute({ factor: f, pixels: n }) {
    const odd = f % 2, K = 2 * f - odd, c = (K - 1) / 2, p = (K - f) / 2, out = n * f;
    const unit = odd ? f : 2 * f; // the weights are whole multiples of 1/unit
    const w = Array.from({ length: K }, (_, i) => 1 - Math.abs(i - c) / f);
    const x = Array.from({ length: n }, (_, i) => explain.image(0, i));
    const reach = (o) => // the input pixels whose stamps reach output pixel o, and with which weight
      x.map((_, h) => [h, o + p - h * f]).filter(([, i]) => i >= 0 && i < K);
    const y = Array.from({ length: out }, (_, o) => reach(o).reduce((sum, [h, i]) => sum + x[h] * w[i], 0));
    const resized = y.map((_, o) => { // between the two nearest pixels; at the edge there is only one
      const at = Math.max(0, Math.min(n - 1, (o + 0.5) / f - 0.5)), left = Math.min(Math.floor(at), n - 1), right = Math.min(left + 1, n - 1);
      return x[left] + (at - left) * (x[right] - x[left]);
    });
    return { f, odd, K, c, p, n, out, unit, w, x, y, resized, reach,
      weights: w.map((value) => `${Math.round(value * unit)}/${unit}`).join(", ") };
  },

  numbers: (model) => model,

  check: ({ w, y, resized }) => explain.same([w, y, resized], [explain.data.w, explain.data.y, explain.data.resized]),

  steps: ({ out }) => out,

  show({ f, K, p, n, out, unit, w, x, y, resized, reach }, step) {
    const read = reach(step), reading = new Set(read.map(([h]) => h)), side = 44;
    drawPlot(step);
    explain.grid("x", {
      title: `x, ${n} pixels`, label: `Input line: ${explain.list(x)}. Read now: ${explain.list([...reading])}.`,
      values: [x], look: (_, h) => (reading.has(h) ? "read" : ""), cell: side,
    });
    explain.grid("y", {
      title: `y, ${out} pixels: transposed convolution with the tent`, label: `Output line. Pixel ${step} is written now: ${explain.shown(y[step])}.`,
      values: [y.map((value, o) => (o <= step ? value : null))], look: (_, o) => (o === step ? "write" : ""), cell: side,
    });
    explain.grid("resized", {
      title: "resize_bilinear, to compare", label: `Bilinear resize of the same line: pixel ${step} is ${explain.shown(resized[step])}.`,
      values: [resized], look: (_, o) => (o === step ? "write" : ""), cell: side,
    });
    explain.bringIntoView("y", (step + 0.5) / out);
    const weight = (i) => `${Math.round(w[i] * unit)}/${unit}`;
    const kernel = explain.array(K, K, (i, j) => w[i] * w[j] * unit * unit);
    explain.grid("kernel", {
      title: `w[i, j], in units of 1/${unit * unit}`, label: `Kernel, ${K} by ${K}, a pyramid; along each axis the weights are ${w.map((_, i) => weight(i)).join(", ")}.`,
      values: kernel, cell: 40,
    });
    const sum = read.map(([h, i]) => `${x[h]}·${weight(i)}`).join(" + ");
    const edge = read.length === 1 && w[read[0][1]] < 1;
    return `y[${step}] = ${sum} = ${explain.shown(y[step])}. ` + read.map(([h, i]) => `x[${h}] reaches it with w[${step} + ${p} − ${h}·${f}] = w[${i}] = ${weight(i)}`).join("; ") +
      (edge ? `. Only one tent reaches this place: resize_bilinear has ${explain.shown(resized[step])}.` : ".");

    /** The tents, their sum up to this step, and the two numbers that are added now. */
    function drawPlot(o) {
      const width = 640, height = 270, left = 44, bottom = 36, top = 12, most = Math.max(...x, ...y);
      const across = (place) => left + ((place + 0.5) / out) * (width - left - 8), up = (value) => height - bottom - (value / most) * (height - bottom - top);
      const line = (points, look) => explain.element("svg:polyline", { points: points.map(([a, b]) => `${across(a)},${up(b)}`).join(" "), fill: "none", ...look });
      const centre = (h) => (h + 0.5) * f - 0.5; // of input pixel h, in output pixels
      const children = [0, most / 2, most].flatMap((value) => [
        line([[-0.5, value], [out - 0.5, value]], { stroke: "#c8c8c8" }), explain.text(left - 18, up(value), explain.shown(value), 17, "faint"),
      ]);
      for (const h of [...Array(n).keys()].sort((a, b) => reading.has(a) - reading.has(b))) {
        const on = reading.has(h), ends = [[centre(h) - f, 0], [centre(h), x[h]], [centre(h) + f, 0]];
        const clipped = ends.map(([a, b], k) => k === 1 ? [a, b] : (a < -0.5 ? [-0.5, x[h] * (1 - (centre(h) + 0.5) / f)] : a > out - 0.5 ? [out - 0.5, x[h] * (1 - (out - 0.5 - centre(h)) / f)] : [a, b]));
        children.push(line(clipped, on ? { stroke: "#9c4a00", "stroke-width": 3, "stroke-dasharray": "7 4" } : { stroke: "#8a8a8a", "stroke-width": 1.2, "stroke-dasharray": "4 4" }));
        children.push(explain.element("svg:rect", { x: across(centre(h)) - 6, y: up(x[h]) - 6, width: 12, height: 12, fill: on ? "#ffe3a3" : "#fff", stroke: on ? "#9c4a00" : "#595959", "stroke-width": 2 }));
      }
      for (let i = 0; i <= o; i++) children.push(explain.element("svg:circle", {
        cx: across(i), cy: up(y[i]), r: i === o ? 8 : 4, fill: i === o ? "#cde6f7" : "#00527f", stroke: "#00527f", "stroke-width": i === o ? 3 : 0,
      }));
      const every = Math.ceil(out / 12);
      for (let i = 0; i < out; i += every) children.push(explain.text(across(i), height - 18, explain.shown(i), 17, "faint"));
      explain.picture("plot", {
        title: "squares: x; dashed: their tents; dots: y, the sum, by output column",
        label: `A line of ${n} pixels, each with a tent that falls to 0 at its neighbours. The tents of ${explain.list([...reading])} reach output pixel ${o}; their sum there is ${explain.shown(y[o])}.`,
        width, height, children,
      });
    }
  },
});
