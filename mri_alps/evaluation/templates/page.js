// The page: which slice is shown, what is read out, keys and buttons.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const [height, width] = data.shape;
const decodedSlices = new Map();
const state = { slice: -1, decoded: null, sample: 0, timer: null };

const PANELS = [
  ["mean", "Posterior mean", "image"],
  ["std", "Standard deviation", "spread"],
  ["zero_filled", "Zero-filled", "image"],
  ["reference", "Reference", "image"],
  ["error", "Error |mean - reference|", "spread"],
  ["samples", "Posterior sample", "image"],
];

const entryOf = () => data.slices[state.slice];

function stepOf(name) {
  return entryOf().images[name].step;
}

const viewer = new Viewer(data, byId("panels"), () => { readOut(); drawProfile(); });

for (const [name, title, kind] of PANELS) {
  const first = data.slices[0];
  const known = name === "error" ? first.images.reference : name === "samples" ? first.samples.length : first.images[name];
  if (known) viewer.add(name, title, kind);
}

async function showSlice(index) {
  const wanted = Math.min(data.slices.length - 1, Math.max(0, index));
  byId("slice").value = wanted;
  if (!decodedSlices.has(wanted)) decodedSlices.set(wanted, decodeSlice(data.slices[wanted], data.shape));
  const decoded = await decodedSlices.get(wanted);
  if (Number(byId("slice").value) !== wanted) return;
  const changed = state.slice !== wanted;
  Object.assign(state, { slice: wanted, decoded });
  for (const panel of viewer.panels) if (panel.name !== "samples") viewer.show(panel.name, decoded[panel.name]);
  showSample(state.sample);
  const label = `slice ${entryOf().index} (${wanted + 1} of ${data.slices.length})`;
  byId("slice-name").textContent = label;
  byId("slice").setAttribute("aria-valuetext", label);
  byId("printed-slice").textContent = label;
  const steps = Object.values(entryOf().images).map((image) => image.step);
  byId("precision").textContent = short(Math.max(...steps) / 2);
  if (changed) {
    leftOutPlots(byId("left-out-plots"), entryOf().left_out);
    convergencePlots(byId("convergence-plots"), entryOf().levels);
    drawMask(decoded.mask, entryOf().mask);
  }
  readOut();
  drawProfile();
  document.documentElement.dataset.slice = entryOf().index;
}

function showSample(index) {
  const { samples } = state.decoded;
  if (!samples.length) return;
  state.sample = index % samples.length;
  viewer.show("samples", samples[state.sample], `${state.sample + 1} of ${samples.length}`);
  showHere();
}

function toggleSize() {
  const large = byId("panels").classList.toggle("large");
  byId("size").setAttribute("aria-pressed", String(large));
}

function togglePlay() {
  if (byId("play").hidden) return;
  if (state.timer) {
    clearInterval(state.timer);
    state.timer = null;
  } else {
    state.timer = setInterval(() => showSample(state.sample + 1), 220);
  }
  byId("play").setAttribute("aria-pressed", String(Boolean(state.timer)));
  byId("play").textContent = state.timer ? "Stop samples" : "Play samples";
}

// The value under the pointer, in the corner of every panel.
function showHere() {
  for (const panel of viewer.panels) {
    const step = panel.name === "samples" ? entryOf().samples[state.sample].step : stepOf(panel.name === "error" ? "reference" : panel.name);
    const [row, column] = viewer.hover || [0, 0];
    panel.here.textContent = viewer.hover && panel.values ? figure(panel.values[row * width + column], step) : "";
  }
}

function readOut() {
  if (!state.decoded) return;
  const [row, column] = viewer.hover || viewer.mark;
  const at = row * width + column;
  const { decoded } = state;
  const text = (name) => figure(decoded[name][at], stepOf(name));
  showHere();
  const lines = [
    ["value", "value (posterior mean)", text("mean")],
    ["std", "standard deviation", text("std")],
    ["interval", "90 % interval", `${text("lower")} to ${text("upper")}`],
    ["zero_filled", "zero-filled", text("zero_filled")],
  ];
  if (decoded.reference) {
    const inside = decoded.lower[at] <= decoded.reference[at] && decoded.reference[at] <= decoded.upper[at];
    lines.push(["reference", "reference", `${text("reference")} (${inside ? "inside" : "outside"} the interval)`]);
    lines.push(["error", "error |mean - reference|", figure(decoded.error[at], stepOf("reference"))]);
  }
  byId("readout-pixel").textContent = `${viewer.hover ? "Pixel" : "Marked pixel"}: row ${row}, column ${column}`;
  byId("readout").tBodies[0].replaceChildren(...lines.map(([id, label, value]) =>
    element("tr", {}, element("th", { textContent: label, scope: "row" }), element("td", { id: `readout-${id}`, textContent: value }))));
}

function drawProfile() {
  if (!state.decoded) return;
  const [row, column] = viewer.hover || viewer.mark;
  const { decoded } = state;
  const line = (name) => Array.from(decoded[name].subarray(row * width, (row + 1) * width), (value, x) => [x, value]);
  const band = [...line("upper"), ...line("lower").reverse()];
  const series = [
    { kind: "band", points: band },
    { kind: "line", style: "other", label: "zero-filled", points: line("zero_filled") },
    ...(decoded.reference ? [{ kind: "line", style: "reference", label: "reference", points: line("reference") }] : []),
    { kind: "line", style: "ours", label: "mean and 90 % interval", points: line("mean") },
    { kind: "vertical", points: column },
  ];
  const values = band.map((point) => point[1]).concat(line("zero_filled").map((point) => point[1]));
  plot(byId("profile"), {
    width: 760, height: 230, x: [0, width - 1], y: [Math.min(0, ...values), Math.max(...values) || 1],
    xLabel: "column (phase encode)", yLabel: "value", series, title: `Profile along row ${row}`,
  });
}

function drawMask(mask, entry) {
  byId("mask-figure").hidden = !mask;
  if (!mask) return;
  const [rows, columns] = entry.shape;
  const canvas = byId("mask");
  const tall = rows === 1 ? Math.max(1, Math.round(columns / 3)) : rows;
  [canvas.width, canvas.height] = [columns, tall];
  const picture = canvas.getContext("2d").createImageData(columns, tall);
  for (let i = 0; i < tall * columns; i++) {
    const on = mask[rows === 1 ? i % columns : i] ? 255 : 0;
    picture.data.set([on, on, on, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function moveMark(key) {
  const [row, column] = viewer.mark;
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (!moves[key]) return false;
  viewer.setMark(row + moves[key][0], column + moves[key][1]);
  return true;
}

function resetView() {
  viewer.reset();
  viewer.paintAll();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onSlider = event.target === byId("slice");
  if (event.shiftKey && moveMark(event.key)) return event.preventDefault();
  const actions = {
    "+": () => viewer.zoomBy(1.5), "=": () => viewer.zoomBy(1.5), "-": () => viewer.zoomBy(1 / 1.5), "0": resetView, l: toggleSize,
  };
  if (!onSlider) {
    Object.assign(actions, {
      ArrowLeft: () => showSlice(state.slice - 1), ArrowRight: () => showSlice(state.slice + 1),
      Home: () => showSlice(0), End: () => showSlice(data.slices.length - 1),
    });
  }
  if (event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") actions[" "] = togglePlay;
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
}

function start() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  byId("slice").max = data.slices.length - 1;
  byId("slice").disabled = data.slices.length === 1;
  byId("slice").addEventListener("input", (event) => showSlice(Number(event.target.value)));
  byId("play").hidden = data.slices[0].samples.length < 2;
  byId("play").addEventListener("click", togglePlay);
  byId("zoom-in").addEventListener("click", () => viewer.zoomBy(1.5));
  byId("zoom-out").addEventListener("click", () => viewer.zoomBy(1 / 1.5));
  byId("reset").addEventListener("click", resetView);
  byId("size").addEventListener("click", toggleSize);
  byId("profile-others").textContent = data.slices[0].images.reference ? ", with the reference and the zero-filled image" : ", with the zero-filled image";
  document.addEventListener("keydown", onKey);
  calibrationPlots(byId("calibration-plots"), data.calibration);
  byId("calibration-note").hidden = !data.calibration.curve.length;
  return showSlice(Math.floor(data.slices.length / 2));
}

function complain(sentence) {
  byId("message").textContent = sentence;
  byId("message").hidden = false;
}

if (typeof DecompressionStream === "undefined") {
  complain("This browser is too old to show the images: any browser of 2023 or later can. The tables below are complete.");
} else {
  start().catch((error) => complain(`The images cannot be shown: ${error.message}. Make the page anew with mri-alps report.`));
}
