// Small plots as SVG; colours come from the style sheet, so they follow light, dark and print.

const svg = (tag, attributes = {}, text = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
};

function ticks(low, high, count = 5) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

// options: {width, height, x: [low, high], y: [low, high], xLabel, yLabel, series, logX, logY}
// series: {kind: "line" | "dots" | "band" | "bars" | "vertical" | "whiskers", style, label, points}
function plot(container, options) {
  const { width = 380, height = 250 } = options;
  const pad = { left: 52, right: 12, top: 22, bottom: 36 };
  const scaleOf = (isLog) => (isLog ? (value) => Math.log10(value) : (value) => value);
  const [along, up] = [scaleOf(options.logX), scaleOf(options.logY)];
  const [x0, x1] = options.x.map(along);
  const [y0, y1] = options.y.map(up);
  const px = (x) => pad.left + ((along(x) - x0) / (x1 - x0 || 1)) * (width - pad.left - pad.right);
  const py = (y) => height - pad.bottom - ((up(y) - y0) / (y1 - y0 || 1)) * (height - pad.top - pad.bottom);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.title || options.yLabel });
  drawAxes(root, options, { width, height, pad, px, py, x0, x1, y0, y1 });
  const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");
  let labelAt = pad.left;
  for (const { kind, style, label, points } of options.series) {
    if (kind === "line" || kind === "dots") root.append(svg("path", { d: path(points), class: `line ${style}` }));
    if (kind === "dots") for (const [x, y] of points) root.append(svg("circle", { cx: px(x), cy: py(y), r: 3, class: `dot ${style}` }));
    if (kind === "whiskers") for (const [x, low, high] of points) root.append(svg("path", { d: path([[x, low], [x, high]]), class: `line ${style}` }));
    if (kind === "band") root.append(svg("path", { d: `${path(points)}Z`, class: "band" }));
    if (kind === "vertical") root.append(svg("line", { x1: px(points), x2: px(points), y1: pad.top, y2: height - pad.bottom, class: "mark" }));
    if (kind === "bars") {
      for (const [x, y] of points) {
        const wide = Math.abs(px(1) - px(0)) * 0.84;
        root.append(svg("rect", { x: px(x) - wide / 2, y: py(y), width: wide, height: Math.max(0, height - pad.bottom - py(y)), class: "bar" }));
      }
    }
    if (label) {
      root.append(svg("text", { x: labelAt, y: 13, class: style }, label));
      labelAt += 6.2 * label.length + 14;
    }
  }
  container.replaceChildren(root);
}

// A common power of ten for the numbers of an axis that would be long otherwise.
function unitOf(high) {
  const power = Math.floor(Math.log10(Math.abs(high) || 1));
  return power < -2 || power > 3 ? power : 0;
}

const inUnits = (value, power) => short(Number((value / 10 ** power).toPrecision(12)));
const withUnit = (label, power) => (power ? `${label}, in 1e${power}` : label);

// Powers of ten between two exponents, or the two ends where there are not enough.
function powersOf(low, high, ends) {
  const powers = [];
  for (let k = Math.ceil(low - 1e-9); k <= high + 1e-9; k++) powers.push(10 ** k);
  return powers.length > 1 ? powers : ends;
}

function drawAxes(root, options, { width, height, pad, px, py, x0, x1, y0, y1 }) {
  const bottom = height - pad.bottom;
  const [xPower, yPower] = [options.logX ? 0 : unitOf(x1), options.logY ? 0 : unitOf(y1)];
  for (const value of options.logY ? powersOf(y0, y1, options.y) : ticks(y0, y1)) {
    root.append(svg("line", { x1: pad.left, x2: width - pad.right, y1: py(value), y2: py(value), class: "grid" }));
    root.append(svg("text", { x: pad.left - 6, y: py(value) + 4, "text-anchor": "end" }, inUnits(value, yPower)));
  }
  for (const value of options.logX ? powersOf(x0, x1, options.x) : ticks(x0, x1)) {
    root.append(svg("line", { x1: px(value), x2: px(value), y1: bottom, y2: bottom + 4, class: "axis" }));
    root.append(svg("text", { x: px(value), y: bottom + 16, "text-anchor": "middle" }, inUnits(value, xPower)));
  }
  root.append(svg("path", { d: `M${pad.left} ${pad.top}V${bottom}H${width - pad.right}`, class: "axis" }));
  root.append(svg("text", { x: (pad.left + width - pad.right) / 2, y: height - 4, "text-anchor": "middle" }, withUnit(options.xLabel, xPower)));
  root.append(svg("text", { x: 12, y: (pad.top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(pad.top + bottom) / 2})` }, withUnit(options.yLabel, yPower)));
}

function addPlot(container, caption, options) {
  const holder = element("div");
  container.append(element("figure", { className: "plot" }, holder, element("figcaption", { textContent: caption })));
  plot(holder, options);
}

function calibrationPlots(container, { curve, errors, positions }) {
  if (curve.length) {
    const points = curve.map(({ nominal, observed }) => [nominal, observed]);
    addPlot(container, "How often an interval holds the reference, against how often it should.", {
      x: [0, 1], y: [0, 1], xLabel: "nominal coverage", yLabel: "observed coverage",
      series: [
        { kind: "line", style: "expected", label: "ideal", points: [[0, 0], [1, 1]] },
        { kind: "dots", style: "ours", label: "observed", points },
      ],
    });
  }
  if (errors.length) {
    const points = errors.map(({ predicted, actual }) => [predicted, actual]);
    const top = Math.max(...points.flat()) * 1.05;
    addPlot(container, "Error that was made, against the one that was predicted; each point is a tenth of the pixels.", {
      x: [0, top], y: [0, top], xLabel: "predicted error (root mean square)", yLabel: "actual error",
      series: [
        { kind: "line", style: "expected", label: "ideal", points: [[0, 0], [top, top]] },
        { kind: "dots", style: "ours", label: "observed", points },
      ],
    });
  }
  if (positions.length) {
    const total = positions.reduce((sum, count) => sum + count, 0) || 1;
    const even = 1 / positions.length;
    const shares = positions.map((count, part) => [part + 0.5, count / total]);
    addPlot(container, "Where the reference lies in what the posterior predicts: even if it is one more draw, high at both ends if the deviation is too small.", {
      x: [0, positions.length], y: [0, Math.max(even, ...shares.map((s) => s[1])) * 1.1],
      xLabel: "tenths of the predictive distribution", yLabel: "share of pixels",
      series: [
        { kind: "bars", style: "ours", points: shares },
        { kind: "line", style: "expected", label: "even", points: [[0, even], [positions.length, even]] },
      ],
    });
  }
}

function leftOutPlots(container, leftOut) {
  container.replaceChildren();
  if (!leftOut) return;
  const { before, after, bands, overall } = leftOut;
  if (after.length) {
    addPlot(container, "How often an interval of the prediction holds the left-out samples' part of the image, against how often it should.", {
      x: [0, 1], y: [0, 1], xLabel: "nominal coverage", yLabel: "observed coverage",
      series: [
        { kind: "line", style: "expected", label: "ideal", points: [[0, 0], [1, 1]] },
        { kind: "dots", style: "reference", label: "the prior's own", points: before },
        { kind: "dots", style: "ours", label: "calibrated", points: after },
      ],
    });
  }
  const right = Math.max(1, ...bands.map((band) => band[0]));
  const top = 1.1 * Math.max(1.2, overall, ...bands.map(([, factor, error]) => factor + error));
  addPlot(container, "Factor by which deviations are multiplied, with its standard error.", {
    x: [0, right], y: [0, top], xLabel: "|k| over the largest along an axis", yLabel: "factor of the deviation",
    series: [
      { kind: "line", style: "expected", label: "the prior's own", points: [[0, 1], [right, 1]] },
      { kind: "line", style: "other", label: `all of k-space, ${overall.toFixed(2)}`, points: [[0, overall], [right, overall]] },
      { kind: "whiskers", style: "ours", points: bands.map(([k, factor, error]) => [k, Math.max(0, factor - error), factor + error]) },
      { kind: "dots", style: "ours", label: "bands", points: bands },
    ],
  });
}

function convergencePlots(container, levels) {
  container.replaceChildren();
  for (const [name, caption] of [
    ["data_misfit", "Data misfit on the way from noise (right) to the posterior (left): about 1 at the end. Before, it may be far above, where the images carry noise on purpose."],
    ["score_energy", "Energy of the prior's score over what is expected: about 1 all the way where the score can be trusted."],
  ]) {
    const points = levels.filter((level) => level.sigma > 0 && Number.isFinite(level[name])).map((level) => [level.sigma, level[name]]);
    if (points.length < 2) continue;
    const sigmas = points.map((point) => point[0]);
    const range = [Math.min(...sigmas), Math.max(...sigmas)];
    if (range[0] === range[1]) continue;
    const values = points.map((point) => point[1]);
    const top = Math.max(1.2, ...values) * 1.05;
    const logY = top > 7 && Math.min(...values) > 0;
    const y = logY ? [Math.min(0.5, ...values), top * 1.5] : [0, top];
    addPlot(container, caption, {
      x: range, y, logX: true, logY, xLabel: "smoothing of the prior, sigma", yLabel: name.replace("_", " "),
      series: [
        { kind: "line", style: "expected", label: "expected", points: range.map((x) => [x, 1]) },
        { kind: "dots", style: "ours", label: `this slice, ${short(Number(values[values.length - 1].toPrecision(3)))} at the end`, points },
      ],
    });
  }
}
