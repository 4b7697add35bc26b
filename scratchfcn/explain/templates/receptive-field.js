{
  const { data, byId, element, shown } = explain;
  const field = byId("set-layers"), choice = byId("set-network"), sizeField = byId("set-size");
  const most = 200;

  // --- a stack of layers, as text: as in topics/receptive_field.py ---

  function layer(text, number) {
    const found = /^(conv|pool|up)\s+(\d+)((?:\s+[spd]\d+)*)$/.exec(text);
    if (!found) throw new Error(`layer ${number}, “${text}”: write conv, pool or up, the kernel, then s, p, d with a number: conv 3 s2 p1`);
    const given = Object.fromEntries(found[3].trim().split(/\s+/).filter(Boolean).map((word) => [word[0], Number(word.slice(1))]));
    const k = Number(found[2]), up = found[1] === "up";
    const { s = found[1] === "pool" ? k : 1, p = 0, d = 1 } = given;
    if (Math.min(k, s, d) < 1) throw new Error(`layer ${number}, “${text}”: kernel, stride and dilation are at least 1`);
    return { text, k, s, p, d, up };
  }

  function parse(text) {
    const layers = text.toLowerCase().split(/[,\n]/).map((part) => part.trim()).filter(Boolean).map((part, i) => layer(part, i + 1));
    if (!layers.length) throw new Error("There is no layer; write for example: conv 3 p1");
    if (layers.length > most) throw new Error(`${layers.length} layers are more than this page shows, ${most}.`);
    return layers;
  }

  // --- geometry, along one axis ---

  /** The maps from the image to the output: stride and start in rows of the image, field, size. */
  function follow(layers, H) {
    const maps = [{ name: "image", stride: 1, start: 0, field: 1, size: H }];
    layers.forEach(({ text, k, s, p, d, up }, i) => {
      const { stride, start, field: seen, size } = maps[i], reach = d * (k - 1);
      const next = up
        ? { stride: stride / s, start: start + (stride * (p - reach / 2)) / s, field: seen + (Math.ceil((reach + 1) / s) - 1) * stride, size: (size - 1) * s - 2 * p + reach + 1 }
        : { stride: stride * s, start: start + stride * (reach / 2 - p), field: seen + reach * stride, size: Math.floor((size + 2 * p - reach - 1) / s) + 1 };
      if (next.size < 1) throw new Error(`layer ${i + 1}, ${text}: nothing is left, its window covers ${reach + 1} rows and the map has ${size}; take a larger image.`);
      maps.push({ name: text, ...next });
    });
    return maps;
  }

  /** The gradient of output pixel i by every map, from the output back to the image; all weights of a layer are 1/k. */
  function gradients(layers, maps, i) {
    let g = new Float64Array(maps[maps.length - 1].size);
    g[i] = 1;
    const all = [g];
    for (let n = layers.length - 1; n >= 0; n--) {
      const { k, s, p, d, up } = layers[n], before = new Float64Array(maps[n].size);
      const [few, many] = up ? [before, g] : [g, before]; // a window belongs to each pixel of the smaller map
      for (let o = 0; o < few.length; o++) for (let j = 0; j < k; j++) {
        const at = o * s + j * d - p;
        if (at < 0 || at >= many.length) continue;
        if (up) few[o] += many[at] / k; else many[at] += few[o] / k;
      }
      g = before;
      all.unshift(g);
    }
    return all;
  }

  /** First and last place where it is not zero. */
  function extent(g) {
    let first = 0, last = g.length - 1;
    while (first < last && g[first] === 0) first++;
    while (last > first && g[last] === 0) last--;
    return [first, last];
  }

  /** The rows that hold the middle half of the gradient. */
  function half(g) {
    const total = g.reduce((a, b) => a + b, 0);
    let sum = 0, first = -1, last = g.length - 1;
    for (let r = 0; r < g.length; r++) {
      sum += g[r];
      if (first < 0 && sum >= total * 0.25) first = r;
      if (sum >= total * 0.75) { last = r; break; }
    }
    return [first, last];
  }

  // --- figures ---

  /** The maps from the output down to the image; of a deep stack only some. */
  function side(maps, all, pixel, least, end) {
    const every = Math.max(1, Math.ceil((maps.length - 2) / 19)), last = maps.length - 1;
    const lanes = maps.map((map, n) => n).filter((n) => n === 0 || n === last || n % every === 0).reverse();
    const width = 340, left = 96, k = (width - left - 2) / (end - least), x = (at) => left + (at - least) * k, line = lanes.length > 12 ? 19 : 26;
    const children = [];
    lanes.forEach((n, lane) => {
      const map = maps[n], y = 4 + lane * line, tall = line - 5, wide = map.stride * k, [first, stop] = extent(all[n]);
      children.push(element("svg:text", { x: left - 5, y: y + tall / 2, "font-size": 11, "text-anchor": "end", "dominant-baseline": "central" }, n ? `${n}. ${map.name.length > 11 ? map.name.slice(0, 10) + "…" : map.name}` : "image"));
      const box = (a, b, look) => children.push(element("svg:rect", { x: x(map.start + map.stride * (a - 0.5)), y, width: Math.max(wide * (b - a), 1), height: tall, class: `lane ${look}` }));
      if (wide >= 4) for (let i = 0; i < map.size; i++) box(i, i + 1, n === last && i === pixel ? "pixel" : all[n][i] !== 0 ? "seen" : "");
      else { box(0, map.size, ""); box(first, stop + 1, n === last ? "pixel" : "seen"); }
    });
    const base = 4 + lanes.length * line + 58, g = all[0], top = Math.max(...g) || 1; // a pixel may see nothing but padding
    let path = `M${x(-0.5)} ${base}`;
    g.forEach((value, r) => { const y = base - (value / top) * 50; path += `L${x(r - 0.5)} ${y}L${x(r + 0.5)} ${y}`; });
    children.push(element("svg:path", { d: `${path}L${x(g.length - 0.5)} ${base}Z`, class: "area" }));
    children.push(element("svg:text", { x: left - 5, y: base - 24, "font-size": 11, "text-anchor": "end" }, "gradient"));
    const out = maps[last], centre = out.start + out.stride * pixel;
    for (const edge of [centre - out.field / 2, centre + out.field / 2]) if (edge >= least && edge <= end)
      children.push(element("svg:line", { x1: x(edge), x2: x(edge), y1: base - 56, y2: base + 4, class: "computed" }));
    children.push(explain.text(x(0), base + 11, "0", 11), explain.text(Math.min(x(g.length - 1), width - 12), base + 11, String(g.length - 1), 11));
    const [first, stop] = extent(g);
    explain.picture("side", {
      title: "from the side: all maps along one axis", width, height: base + 20, scale: 1.6, children,
      label: `Output pixel ${pixel} of ${out.size}. Going back through ${last} layers, it depends on rows ${first} to ${stop} of the image.`,
    });
    explain.table("side", { title: `gradient of output pixel ${pixel} by the image's rows`, heads: ["gradient"], values: Array.from(g, (v) => [v]) });
  }

  /** The image from above, with the gradient as brown, and the computed square. */
  function above(maps, g, pixel) {
    const H = g.length, width = 300, k = width / H, out = maps[maps.length - 1], canvas = element("canvas", { width: H, height: H });
    const pen = canvas.getContext("2d"), pixels = pen.createImageData(H, H), top = Math.max(...g) || 1; // a pixel may see nothing but padding
    const from = [255, 255, 255], to = [156, 74, 0]; // white to brown; the square root shows small values, too
    for (let r = 0; r < H; r++) for (let c = 0; c < H; c++) {
      const share = Math.sqrt(g[r] * g[c]) / top, at = 4 * (r * H + c);
      for (let i = 0; i < 3; i++) pixels.data[at + i] = from[i] + share * (to[i] - from[i]);
      pixels.data[at + 3] = 255;
    }
    pen.putImageData(pixels, 0, 0);
    const centre = (out.start + out.stride * pixel + 0.5) * k, reach = (out.field / 2) * k;
    const children = [
      element("svg:image", { href: canvas.toDataURL(), width, height: width, style: "image-rendering:pixelated" }),
      element("svg:rect", { width, height: width, class: "frame" }),
      element("svg:rect", { x: centre - reach, y: centre - reach, width: 2 * reach, height: 2 * reach, class: "computed" }),
      element("svg:path", { d: `M${centre - 6} ${centre}h12M${centre} ${centre - 6}v12`, class: "cross" }),
    ];
    explain.picture("above", {
      title: "from above: the image", width, height: width, scale: 1.35, children,
      label: `Image of ${H} by ${H}. The gradient of output pixel (${pixel}, ${pixel}) lies around row and column ${shown(out.start + out.stride * pixel)}; the computed receptive field is a square of ${shown(out.field)}.`,
    });
  }

  function byLayer(maps) {
    const heads = ["layer", "rows", "stride", "first centre", "receptive field"];
    const rows = maps.map((map, n) => element("tr", {}, element("th", { scope: "row" }, n ? `${n}. ${map.name}` : map.name),
      ...[map.size, map.stride, map.start, map.field].map((value) => element("td", {}, shown(value)))));
    byId("layers").replaceChildren(element("table", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head))), ...rows));
  }

  // --- the form: choosing a network writes its layers; changing these makes it your own ---

  function take(name) {
    field.value = data.stacks[name].layers.map((each) => each.trim()).join("\n");
  }
  take(choice.value);
  let wanted = null; // the step to go to after the next computation: the middle of a new stack
  choice.addEventListener("input", () => { take(choice.value); sizeField.value = data.stacks[choice.value].size; wanted = "middle"; });
  field.addEventListener("input", () => { choice.value = "yours"; wanted = "middle"; });

  let drawnFor = null;
  explain.start({
    compute({ size: H }) {
      const layers = parse(field.value), maps = follow(layers, H);
      return { layers, maps, H, out: maps[maps.length - 1] };
    },

    numbers({ layers, maps, H, out }) {
      const terms = ["1"], strides = [];
      layers.forEach(({ k, s, d, up }, n) => {
        const seen = up ? Math.ceil((d * (k - 1) + 1) / s) - 1 : d * (k - 1);
        if (seen) terms.push(`${seen}·${shown(maps[n].stride)}`);
        if (s !== 1) strides.push(up ? `1/${s}` : String(s));
      });
      return {
        strides: strides.join("·") || "1", stride: out.stride, terms: terms.join(" + "), field: out.field,
        sign: out.start < 0 ? "−" : "+", start: Math.abs(out.start), H, OH: out.size,
      };
    },

    check: ({ layers, maps, out }) => explain.same(maps.map((map) => map.size), data.sizes)
      && explain.same([out.stride, out.start, out.field], data.grid)
      && explain.same(Array.from(gradients(layers, maps, data.pixel)[0]), data.gradient),

    steps: ({ out }) => out.size,

    show({ layers, maps, H, out }, step) {
      const all = gradients(layers, maps, step), g = all[0];
      const least = Math.min(...maps.map((map) => map.start - map.stride / 2)), end = Math.max(...maps.map((map) => map.start + map.stride * (map.size - 0.5)));
      side(maps, all, step, least, end);
      above(maps, g, step);
      if (drawnFor !== maps) byLayer(maps);
      drawnFor = maps;
      const centre = out.start + out.stride * step, [first, last] = extent(g), [from, to] = half(g);
      const least_row = centre - (out.field - 1) / 2, most_row = centre + (out.field - 1) / 2;
      const outside = least_row < 0 || most_row > H - 1 ? " The rest lies outside the image." : "";
      const holes = Array.from(g).filter((v) => v !== 0).length;
      if (!g.some((v) => v !== 0)) return `Output pixel ${step}: centre ${shown(centre)}. It sees nothing of the image, only padding: its gradient is zero everywhere.`;
      return `Output pixel ${step}: centre = ${shown(out.stride)}·${step} ${out.start < 0 ? "−" : "+"} ${shown(Math.abs(out.start))} = ${shown(centre)}. ` +
        `Computed: rows ${shown(least_row)} … ${shown(most_row)}, ${shown(out.field)} rows. ` +
        `Measured: the gradient is not zero on rows ${first} … ${last}, ${last - first + 1} rows${holes < last - first + 1 ? ` with holes, ${holes} of them` : ""}.${outside} ` +
        `Half of it lies on rows ${from} … ${to}.`;
    },
  });

  const middle = () => explain.go(Math.floor((Number(byId("step").max) + 1) / 2));
  middle();
  byId("settings").addEventListener("input", () => { if (wanted === "middle") { wanted = null; middle(); } });
}
