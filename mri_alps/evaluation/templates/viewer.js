// Panels that share zoom, mark and, by kind, the window.

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

function makeTable(kind, magma) {
  const table = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 768; i++) {
    table[i] = kind === "image" ? Math.floor(i / 3) : parseInt(magma.substr(2 * i, 2), 16);
  }
  return table;
}

class Viewer {
  constructor(data, container, onPixel) {
    [this.height, this.width] = data.shape;
    this.aspect = data.aspect;
    this.defaults = data.windows;
    this.tables = { image: makeTable("image"), spread: makeTable("spread", data.magma) };
    this.panels = [];
    this.container = container;
    this.onPixel = onPixel;
    this.mark = [Math.floor(this.height / 2), Math.floor(this.width / 2)];
    this.hover = null;
    this.reset();
  }

  add(name, title, kind) {
    const canvas = element("canvas", { className: "image", tabIndex: -1 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    canvas.style.aspectRatio = `${this.width} / ${this.height * this.aspect}`;
    const detail = element("span");
    const bar = element("canvas", { width: 256, height: 1 });
    const [low, high] = [element("span"), element("span")];
    const here = element("span", { className: "here" });
    const panel = element(
      "figure",
      { className: "panel", id: `panel-${name}` },
      element("figcaption", {}, element("span", { textContent: title }), detail),
      element("div", { className: "frame" }, canvas, here),
      element("div", { className: "scale" }, low, bar, high),
    );
    this.container.append(panel);
    const buffer = element("canvas", { width: this.width, height: this.height });
    const entry = { name, kind, canvas, buffer, bar, low, high, detail, here, values: null };
    this.panels.push(entry);
    this.listen(entry);
    new ResizeObserver(() => this.draw(entry)).observe(canvas);
    return entry;
  }

  reset() {
    this.windows = { image: [...this.defaults.image], spread: [...this.defaults.spread] };
    this.view = { x: 0.5, y: 0.5, zoom: 1 };
    this.drawAll();
  }

  show(name, values, detail = "") {
    const panel = this.panels.find((entry) => entry.name === name);
    panel.values = values;
    panel.detail.textContent = detail;
    this.paint(panel);
    this.draw(panel);
  }

  drawAll() {
    for (const panel of this.panels) this.draw(panel);
  }

  paintAll() {
    for (const panel of this.panels) this.paint(panel);
    this.drawAll();
  }

  // Values to colours, at the size of the image.
  paint(panel) {
    if (!panel.values) return;
    const [low, high] = this.windows[panel.kind];
    const table = this.tables[panel.kind];
    const context = panel.buffer.getContext("2d");
    const picture = context.createImageData(this.width, this.height);
    const factor = 255.99 / (high - low);
    for (let i = 0; i < panel.values.length; i++) {
      const at = Math.min(255, Math.max(0, Math.floor((panel.values[i] - low) * factor)));
      picture.data.set(table.subarray(3 * at, 3 * at + 3), 4 * i);
      picture.data[4 * i + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
    const bar = panel.bar.getContext("2d").createImageData(256, 1);
    for (let i = 0; i < 256; i++) {
      bar.data.set([...table.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    }
    panel.bar.getContext("2d").putImageData(bar, 0, 0);
    [panel.low.textContent, panel.high.textContent] = [short(low), short(high)];
  }

  // The visible part, at the size of the screen.
  draw(panel) {
    const { canvas } = panel;
    const ratio = window.devicePixelRatio || 1;
    const wide = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const tall = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== wide || canvas.height !== tall) {
      [canvas.width, canvas.height] = [wide, tall];
    }
    const context = canvas.getContext("2d");
    const { x, y, zoom } = this.view;
    context.fillStyle = "#000";
    context.fillRect(0, 0, wide, tall);
    context.imageSmoothingEnabled = false;
    const left = (0.5 - x * zoom) * wide;
    const top = (0.5 - y * zoom) * tall;
    context.drawImage(panel.buffer, left, top, wide * zoom, tall * zoom);
    this.drawMark(context, left, top, wide * zoom, tall * zoom, ratio);
  }

  drawMark(context, left, top, wide, tall, ratio) {
    const [row, column] = this.mark;
    const px = left + ((column + 0.5) / this.width) * wide;
    const py = top + ((row + 0.5) / this.height) * tall;
    for (const [colour, width] of [["#000", 3], ["#4cc9ff", 1]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * ratio;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(px + 4 * ratio * dx, py + 4 * ratio * dy);
        context.lineTo(px + 11 * ratio * dx, py + 11 * ratio * dy);
      }
      context.stroke();
    }
  }

  fractionAt(event, canvas) {
    const box = canvas.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width - 0.5;
    const down = (event.clientY - box.top) / box.height - 0.5;
    return [this.view.x + across / this.view.zoom, this.view.y + down / this.view.zoom];
  }

  pixelAt(event, canvas) {
    const [fx, fy] = this.fractionAt(event, canvas);
    const [row, column] = [Math.floor(fy * this.height), Math.floor(fx * this.width)];
    const inside = row >= 0 && column >= 0 && row < this.height && column < this.width;
    return inside ? [row, column] : null;
  }

  setMark(row, column) {
    const limit = (value, size) => Math.min(size - 1, Math.max(0, value));
    this.mark = [limit(row, this.height), limit(column, this.width)];
    this.hover = null;
    this.drawAll();
    this.onPixel();
  }

  // The point of the image at `at` (fractions of it) stays where it is.
  zoomBy(factor, at = [this.view.x, this.view.y]) {
    const zoom = Math.min(32, Math.max(1, this.view.zoom * factor));
    const change = this.view.zoom / zoom;
    this.view = {
      zoom,
      x: at[0] + (this.view.x - at[0]) * change,
      y: at[1] + (this.view.y - at[1]) * change,
    };
    this.keepInside();
  }

  keepInside() {
    const half = 0.5 / this.view.zoom;
    this.view.x = Math.min(1 - half, Math.max(half, this.view.x));
    this.view.y = Math.min(1 - half, Math.max(half, this.view.y));
    this.drawAll();
  }

  changeWindow(kind, across, down) {
    const [low, high] = this.windows[kind];
    const width = (high - low) * Math.exp(across * 2);
    const middle = (low + high) / 2 + down * (this.defaults[kind][1] - this.defaults[kind][0]);
    this.windows[kind] = [middle - width / 2, middle + width / 2];
    for (const panel of this.panels) if (panel.kind === kind) this.paint(panel);
    this.drawAll();
  }

  listen(panel) {
    const { canvas, kind } = panel;
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      drag = { x: event.clientX, y: event.clientY, moved: false, pan: event.shiftKey || event.button > 0 };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) {
        this.hover = this.pixelAt(event, canvas);
        this.onPixel();
        return;
      }
      const across = (event.clientX - drag.x) / canvas.clientWidth;
      const down = (event.clientY - drag.y) / canvas.clientHeight;
      if (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 4) return;
      Object.assign(drag, { moved: true, x: event.clientX, y: event.clientY });
      if (drag.pan) {
        this.view.x -= across / this.view.zoom;
        this.view.y -= down / this.view.zoom;
        this.keepInside();
      } else {
        this.changeWindow(kind, across, down);
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      const pixel = this.pixelAt(event, canvas);
      if (drag && !drag.moved && pixel) this.setMark(...pixel);
      drag = null;
    });
    canvas.addEventListener("pointercancel", () => { drag = null; });
    canvas.addEventListener("pointerleave", () => { this.hover = null; this.onPixel(); });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => { this.reset(); this.paintAll(); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * 0.0015), this.fractionAt(event, canvas));
    }, { passive: false });
  }
}
