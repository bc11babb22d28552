// Text inside the page back to numbers.

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

async function inflate(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Undo the differences along each row (modulo 2^16) and the quantisation.
async function decodeImage(encoded, [height, width]) {
  const planes = await inflate(encoded.data);
  const size = height * width;
  const values = new Float64Array(size);
  for (let row = 0; row < height; row++) {
    let q = 0;
    for (let i = row * width; i < (row + 1) * width; i++) {
      q = (q + planes[i] * 256 + planes[size + i]) & 65535;
      values[i] = encoded.low + encoded.step * q;
    }
  }
  return values;
}

async function decodeSlice(entry, shape) {
  const names = Object.keys(entry.images);
  const images = await Promise.all(names.map((name) => decodeImage(entry.images[name], shape)));
  const decoded = Object.fromEntries(names.map((name, i) => [name, images[i]]));
  decoded.samples = await Promise.all(entry.samples.map((sample) => decodeImage(sample, shape)));
  if (decoded.reference) {
    decoded.error = decoded.reference.map((value, i) => Math.abs(decoded.mean[i] - value));
  }
  decoded.mask = entry.mask ? await inflate(entry.mask.data) : null;
  return decoded;
}

// As many digits as the step of the quantisation allows: the last one is worth at most a step.
function figure(value, step) {
  if (!Number.isFinite(value)) return "-";
  if (value === 0) return "0";
  const decimals = Math.max(0, Math.ceil(-Math.log10(step)));
  const range = step * 65535;
  if (range >= 1e-2 && range < 1e6) return value.toFixed(Math.min(12, decimals));
  const digits = Math.floor(Math.log10(Math.abs(value))) + 1 + Math.ceil(-Math.log10(step));
  return value.toExponential(Math.min(8, Math.max(0, digits - 1)));
}

function short(value) {
  const size = Math.abs(value);
  const rounded = Number(value.toPrecision(3));
  return size === 0 || (size >= 1e-2 && size < 1e5) ? rounded.toString() : rounded.toExponential();
}
