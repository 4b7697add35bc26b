{
  const { data, byId, element, shown } = explain;
  const [H, W] = data.size;
  let chosen = 0; // which of the layer's maps is shown large, counted among those in the page
  let last = null; // what is drawn now

  const brief = (value) => (value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1).replace(/-/g, "−").replace("e", "·10^") : shown(value));

  const called = ({ index, name }) => (name ? `score of ${name}` : `map ${index}`);

  /** The photograph's frame with something in it: all pictures have the same size, so that places can be compared. */
  function framed(id, title, label, children) {
    const width = 320, k = width / W;
    explain.picture(id, { title, label, width, height: H * k,
      children: [...children(k), element("svg:rect", { width, height: H * k, class: "frame" })] });
  }
  const image = (href, x, y, width, height, smooth) =>
    element("svg:image", { href, x, y, width, height, preserveAspectRatio: "none", class: smooth ? "smooth" : undefined });
  const ring = ([r, c], k) => ["mark", "mark inner"].map((look) => element("svg:circle", { cx: (c + 0.5) * k, cy: (r + 0.5) * k, r: 8, class: look }));
  function box([r, c], side, k) {
    const at = (centre) => (centre + 0.5 - side / 2) * k;
    return side ? ["box", "box inner"].map((look) => element("svg:rect", { x: at(c), y: at(r), width: side * k, height: side * k, class: look })) : [];
  }

  function target(t) {
    framed("photo", "the picture", `The picture, ${W} by ${H} pixels. The ring is at row ${shown(t.at[0])}, column ${shown(t.at[1])}: where “${t.name}” is scored.`,
      (k) => [image(data.photo, 0, 0, 320, H * k, W > 150), ...ring(t.at, k)]);
    framed("heat", `score of “${t.name}”`, `Heatmap of ${t.name}: orange where its score is high. At the ring it is ${shown(t.score)}.`,
      (k) => [image(t.heat, 0, 0, 320, H * k, W > 150), ...ring(t.at, k)]);
    framed("gradient", "gradient by the image", `Where the score of ${t.name} at the ring depends on the image, darker for more: rows ${t.first} to ${t.last}.${t.box ? ` The square is its receptive field of ${shown(t.box)} rows.` : ""}`,
      (k) => [image(t.gradient, 0, 0, 320, H * k), ...box(t.at, t.box, k), ...ring(t.at, k)]);
  }

  /** One of the layer's maps, laid over the picture where its pixels lie. */
  function large({ stride, start, field, shape: [, h, w] }, channel, t, show) {
    const href = show === "maps" ? channel.map : channel.gradients[t];
    const centre = [start + stride * channel.row, start + stride * channel.column];
    framed("one", `${called(channel)}, over the picture`, `${called(channel)} over the picture. Its largest value, ${shown(channel.value)}, lies at row ${shown(centre[0])}, column ${shown(centre[1])} of the picture.`, (k) => [
      image(data.photo, 0, 0, 320, H * k, W > 150),
      element("svg:g", { opacity: 0.8 }, image(href, (start - stride / 2 + 0.5) * k, (start - stride / 2 + 0.5) * k, w * stride * k, h * stride * k)),
      ...box(centre, field, k), ...ring(centre, k),
    ]);
  }

  function thumbnails(layer, t, show) {
    byId("maps").replaceChildren(...layer.channels.map((channel, i) => {
      const words = show === "maps" ? `values from ${shown(channel.least)} to ${shown(channel.value)}` : `gradient at its largest value ${brief(channel.slopes[t])}`;
      const button = element("button", { type: "button", "aria-pressed": i === chosen, "aria-label": `${called(channel)}, ${words}` },
        element("img", { src: show === "maps" ? channel.map : channel.gradients[t], alt: "" }), channel.name || `${channel.index}`);
      button.addEventListener("click", () => {
        chosen = i;
        for (const [j, other] of [...byId("maps").children].entries()) other.setAttribute("aria-pressed", j === i);
        explain.go(data.layers.indexOf(layer));
      });
      return button;
    }));
    explain.table("maps", {
      title: layer.name, heads: ["map", "least", "largest", "row", "column", "gradient there"],
      values: layer.channels.map((c) => [c.name || c.index, c.least, c.value, c.row, c.column, brief(c.slopes[t])]),
    });
  }

  explain.start({
    compute: ({ target: t, show }) => ({ t: Number(t), show, target: data.targets[Number(t)] }),
    numbers: (model) => ({ K: data.K, ...model.target }),
    steps: () => data.layers.length,

    show({ t, show, target: wanted }, step) {
      const layer = data.layers[step], [C, h, w] = layer.shape;
      if (!last || last.t !== t) target(wanted);
      if (!last || last.t !== t || last.step !== step || last.show !== show) {
        if (!last || last.t !== t || last.step !== step) // of scores, first the one to explain
          chosen = Math.max(0, layer.channels.findIndex((channel) => channel.name === wanted.name));
        byId("layer-title").textContent = `Layer ${step + 1} of ${data.layers.length}: ${layer.name}`;
        byId("scale").replaceChildren(show === "maps" ? "its smallest value " : "negative ",
          element("span", { class: `scale ${show === "maps" ? "grey" : "signed"}` }), show === "maps" ? " its largest" : " positive; white is 0. Each map has its own scale.");
        thumbnails(layer, t, show);
      }
      last = { t, step, show };
      const channel = layer.channels[chosen], slope = channel.slopes[t];
      large(layer, channel, t, show);
      const places = `${shown(layer.stride)}·h ${layer.start < 0 ? "−" : "+"} ${shown(Math.abs(layer.start))}`;
      return `${layer.name}: ${C} maps of ${h}×${w}. Pixel (h, w) lies at row ${places} of the picture, and sees ${layer.field ? `${shown(layer.field)} rows` : "all of it"}. ` +
        `${called(channel)[0].toUpperCase()}${called(channel).slice(1)} is largest at (${channel.row}, ${channel.column}): ${shown(channel.value)}. ∂score/∂(this value) = ${brief(slope)}: 0.1 more there would change the score of “${wanted.name}” by about ${brief(0.1 * slope)}.`;
    },
  });
}
