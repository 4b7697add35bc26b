{
  const { data, element, shown } = explain;
  const signed = (value) => explain.signed(value);

  // A map along one axis: { name, stride, start, size, first, kept }, as in topics/skip_fusion.py.
  const map = (name, stride, start, size, first = 0, kept = size) => ({ name, stride, start, size, first, kept });

  /** Behind a window [k, s, p, d, ceil]. */
  function behind(row, [k, s, p, d, ceil]) {
    const free = row.size + 2 * p - d * (k - 1) - 1;
    let size = (ceil ? Math.ceil(free / s) : Math.floor(free / s)) + 1;
    if (ceil && (size - 1) * s >= row.size + p) size -= 1;
    return map(row.name, row.stride * s, row.start + row.stride * ((d * (k - 1)) / 2 - p), size);
  }

  function through(row, windows, name) {
    const end = windows.reduce((at, window) => {
      const next = behind(at, window);
      if (next.size < 1) throw new Error(`An image of this height is too small: ${name} would have no rows.`);
      return next;
    }, row);
    return { ...end, name };
  }

  /** Upsampled to the stride of `target`, with the bilinear kernel, 2s or 2s − 1, that a whole crop can line up with it. */
  function upsampled(row, target, name) {
    const factor = row.stride / target.stride;
    for (const kernel of [2 * factor, 2 * factor - 1]) {
      const start = row.start - (row.stride * (kernel - 1)) / 2 / factor;
      if (Number.isInteger((target.start - start) / target.stride))
        return { ...map(name, target.stride, start, (row.size - 1) * factor + kernel), kernel, factor, from: row };
    }
    throw new Error("No bilinear kernel lines these two maps up.");
  }

  function fuse(network, { stages: [toPool3, toPool4, toPool5, head], enlarged }, H) {
    const image = map("image", 1, 0, H);
    const pool3 = through({ ...image, size: enlarged[H - 1] }, toPool3, "pool3"), pool4 = through(pool3, toPool4, "pool4");
    let score = through(pool4, [...toPool5, ...head], "score");
    const skips = { fcn32s: [], fcn16s: [pool4], fcn8s: [pool4, pool3] }[network];
    const steps = [{ what: "maps", rows: [image, ...skips.slice().reverse(), score] }];
    for (const [i, skip] of skips.entries()) {
      const up = upsampled(score, skip, ["upscore2", "upscore_pool4"][i]);
      const offset = (up.start - skip.start) / skip.stride;
      const first = Math.max(0, offset), upFirst = Math.max(0, -offset);
      const kept = Math.min(skip.size - first, up.size - upFirst);
      steps.push({ what: "add", offset, rows: [{ ...skip, first, kept }, { ...up, first: upFirst, kept }] });
      score = map(`fuse_${skip.name}`, skip.stride, Math.max(skip.start, up.start), kept);
    }
    const up = upsampled(score, image, { fcn32s: "upscore", fcn16s: "upscore16", fcn8s: "upscore8" }[network]);
    if (up.start > 0) throw new Error("The upsampled scores begin after the image's first row.");
    steps.push({ what: "image", offset: -up.start, rows: [image, { ...up, first: -up.start, kept: H }] });
    return steps;
  }

  const place = ({ stride, start }) => `${shown(stride)}·i ${start < 0 ? "−" : "+"} ${shown(Math.abs(start))}`;

  function numbers({ steps }) {
    const lines = { pool3: "", pool4: "", score: "", fuse4: "", fuse3: "" };
    for (const row of steps[0].rows.slice(1)) lines[row.name] = `${row.name}: pixel i lies at row ${place(row)}; ${row.size} of them`;
    steps.slice(1, -1).forEach(({ rows: [skip, up], offset }, k) => {
      lines[`fuse${"43"[k]}`] = `crop of ${skip.name} = (start of ${up.name} − start of ${skip.name}) / stride = ` +
        `(${shown(up.start)} − ${signed(skip.start)}) / ${shown(skip.stride)} = ${shown(offset)}`;
    });
    const { rows, offset } = steps[steps.length - 1];
    lines.image = `crop to the image = 0 − start of ${rows[1].name} = 0 − ${signed(rows[1].start)} = ${shown(offset)}`;
    return lines;
  }

  // --- figures ---

  const isScore = ({ name }) => !/^pool|^image/.test(name);
  const kind = (row) => (row.name === "image" ? "image" : isScore(row) ? "up" : "");
  const isKept = ({ first, kept }, i) => i >= first && i < first + kept;
  const cut = ({ size, first, kept }) => {
    const after = size - first - kept;
    const parts = [first ? `${first} cropped before` : "", after ? `${after} after` : ""].filter(Boolean);
    return parts.length ? `, ${parts.join(", ")}` : "";
  };

  /** Side view: a lane for each map, over the rows of the image. */
  function lanes(rows, H, least, most) {
    const width = 340, k = (width - 4) / (most - least), x = (at) => 2 + (at - least) * k, children = [], names = [];
    rows.forEach((row, lane) => {
      const y = 22 + lane * 52, wide = row.stride * k;
      names.push(element("svg:text", { x: 2, y: y - 7, "font-size": 12, class: "name" }, `${row.name}: ${row.size} pixels${cut(row)}`));
      const parts = wide >= 3 ? [...Array(row.size).keys()].map((i) => [i, i + 1])
        : [[0, row.first], [row.first, row.first + row.kept], [row.first + row.kept, row.size]].filter(([a, b]) => b > a);
      for (const [a, b] of parts) {
        children.push(element("svg:rect", {
          x: x(row.start + row.stride * (a - 0.5)), y, width: wide * (b - a), height: 24, class: `lane ${isKept(row, a) ? kind(row) : "cut"}`,
        }));
        if (b === a + 1 && wide >= 13) children.push(explain.text(x(row.start + row.stride * a), y + 12, String(a), Math.min(11, wide * 0.6)));
      }
    });
    const bottom = 22 + rows.length * 52 - 24;
    for (const at of [-0.5, H - 0.5]) children.push(element("svg:line", { x1: x(at), x2: x(at), y1: 18, y2: bottom, class: "edge" }));
    children.push(explain.text(Math.max(30, Math.min(width - 60, x((H - 1) / 2))), bottom + 10, `rows 0 … ${H - 1} of the image`, 11), ...names);
    explain.table("lanes", {
      title: "the maps along one axis", heads: ["map", "pixels", "stride", "start", "cropped before", "kept"],
      values: rows.map((row) => [row.name, row.size, row.stride, row.start, row.first, row.kept]),
    });
    explain.picture("lanes", {
      title: "from the side: one axis", width, height: bottom + 18, scale: 1.75, children,
      label: rows.map((row) => `${row.name}: ${row.size} pixels, the first at row ${shown(row.start)}, then every ${shown(row.stride)}${cut(row)}`).join(". ") + ".",
    });
  }

  /** Top view: the coarser map as squares, the finer as dots at its pixels' centres, the image as a frame. */
  function above(rows, H, least, most) {
    const width = 300, k = (width - 4) / (most - least), x = (at) => 2 + (at - least) * k;
    const maps = rows.filter((row) => row.name !== "image").sort((a, b) => b.stride - a.stride || isScore(b) - isScore(a));
    const children = [];
    const square = (row, a, b, look) => element("svg:rect", {
      x: x(row.start + row.stride * (a - 0.5)), y: x(row.start + row.stride * (a - 0.5)),
      width: row.stride * k * (b - a), height: row.stride * k * (b - a), class: look,
    });
    for (const row of maps) {
      const wide = row.stride * k;
      if (row === maps[0] || wide < 2) {
        children.push(square(row, 0, row.size, `lane ${row.kept < row.size ? "cut" : kind(row)}`));
        if (row.kept < row.size) children.push(square(row, row.first, row.first + row.kept, `lane ${kind(row)}`));
        if (wide < 4) continue;
        const lines = [];
        for (let i = 1; i < row.size; i++) {
          const at = x(row.start + row.stride * (i - 0.5)), from = x(row.start - row.stride / 2), to = x(row.start + row.stride * (row.size - 0.5));
          lines.push(`M${at} ${from}V${to}M${from} ${at}H${to}`);
        }
        children.push(element("svg:path", { d: lines.join(""), class: "lane", fill: "none", style: `fill:none;stroke:${isScore(row) ? "#00527f" : "#9c4a00"}` }));
        continue;
      }
      for (const stays of [false, true]) {
        const dots = [];
        for (let r = 0; r < row.size; r++) for (let c = 0; c < row.size; c++)
          if ((isKept(row, r) && isKept(row, c)) === stays) dots.push(`M${x(row.start + row.stride * c)} ${x(row.start + row.stride * r)}h0`);
        children.push(element("svg:path", { d: dots.join(""), class: `dots${isScore(row) ? " up" : ""}${stays ? "" : " cut"}`, "stroke-width": Math.max(1.5, Math.min(8, wide * (stays ? 0.35 : 0.22))) }));
      }
    }
    children.push(element("svg:rect", { x: x(-0.5), y: x(-0.5), width: H * k, height: H * k, class: "frame" }));
    const said = maps.map((row, i) => `${row.name} as ${i && row.stride * k >= 2 ? "dots at its pixels' centres" : "squares"}`);
    explain.picture("above", { title: "from above: the image is the thick frame", label: `The image of ${H} by ${H} and over it ${said.join(", ")}.`, width, height: width, children, scale: 1.35 });
  }

  // --- words ---

  function words({ what, rows, offset }, H) {
    const [one, two] = rows;
    if (what === "maps") return rows.slice(1).map((row) => `${row.name}: pixel 0 lies at row ${shown(row.start)} of the image, the next ${shown(row.stride)} further`).join("; ") + ".";
    const { from, kernel, factor } = two;
    const moved = `${from.name} is upsampled by ${factor} (kernel ${kernel}): its start moves to ${shown(from.start)} − ${shown(from.stride)}·(${kernel} − 1)/2/${factor} = ${shown(two.start)}.`;
    if (what === "image") return `${moved} The image begins at row 0, so ${shown(offset)} rows are cropped before, ${two.size - two.first - two.kept} after, and ${H} stay: one score for every row.`;
    const who = offset > 0 ? `${one.name} begins ${offset} pixels earlier: that many are cropped from it`
      : offset < 0 ? `${two.name} begins ${-offset} pixels earlier: that many are cropped from it` : "Both begin at the same place: nothing is cropped before";
    return `${moved} ${one.name} starts at ${shown(one.start)}. (${shown(two.start)} − ${signed(one.start)}) / ${shown(one.stride)} = ${shown(offset)}. ${who}. The ${one.kept} pixels that both cover are added.`;
  }

  explain.start({
    compute: ({ network, backbone, size: H }) => ({ H, steps: fuse(network, data.backbones[backbone], H) }),
    numbers,
    check: ({ steps }) => steps.every(({ rows }, i) => rows.every((row, j) =>
      Object.entries(data.lanes[i][j]).every(([name, value]) => row[name] === value))),
    steps: ({ steps }) => steps.length,
    show({ H, steps }, step) {
      const { what, rows } = steps[step], all = steps.flatMap((each) => each.rows);
      const least = Math.min(...all.map((row) => row.start - row.stride / 2)), most = Math.max(...all.map((row) => row.start + row.stride * (row.size - 0.5)));
      const drawn = what === "add" ? [steps[0].rows[0], ...rows] : rows;
      lanes(drawn, H, least, most);
      above(drawn, H, least, most);
      return words(steps[step], H);
    },
  });
}
