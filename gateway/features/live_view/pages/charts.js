// Lines over the last minutes, in SVG.

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 480, HEIGHT = 112, LEFT = 40, TOP = 8, BOTTOM = 16;

function drawn(name, attributes, text) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The next number above `value` that people find round. */
function rounded(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(times => times * power).find(bound => bound >= value);
}

export function plain(number) {
  if (number === null || number === undefined) return "–";
  const digits = number >= 100 || Number.isInteger(number) ? 0 : number >= 1 ? 1 : 2;
  return number.toLocaleString("en", {maximumFractionDigits: digits});
}

/** Draw `lines`, each {name, kind, values}: one value for each step, null where there is none. */
export function chart(svg, lines, unit, minutes) {
  const most = rounded(Math.max(0, ...lines.flatMap(line => line.values.map(value => value ?? 0))));
  const count = lines[0].values.length;
  const x = i => LEFT + (WIDTH - LEFT) * i / Math.max(1, count - 1);
  const y = value => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
  const parts = [];
  for (const share of [0, .5, 1]) {
    parts.push(drawn("line", {class: "grid", x1: LEFT, x2: WIDTH, y1: y(most * share), y2: y(most * share)}));
    parts.push(drawn("text", {x: LEFT - 5, y: y(most * share) + 4, "text-anchor": "end"}, plain(most * share)));
  }
  parts.push(drawn("text", {x: LEFT, y: HEIGHT - 3}, `${minutes} min ago`));
  parts.push(drawn("text", {x: WIDTH, y: HEIGHT - 3, "text-anchor": "end"}, "now"));
  for (const line of lines) {
    let path = "", broken = true;
    line.values.forEach((value, i) => {
      if (value === null) { broken = true; return; }
      // A point with nothing beside it would not be seen as a line.
      if (broken) path += `M${x(i).toFixed(1)} ${y(value).toFixed(1)}h1`;
      path += `L${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
      broken = false;
    });
    parts.push(drawn("path", {class: line.kind, d: path || "M0 0"}));
  }
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const last = lines.map(line => {
    const found = line.values.filter(value => value !== null);
    return `${line.name}: now ${plain(found.at(-1) ?? null)}${unit}, maximum ${plain(found.length ? Math.max(...found) : null)}${unit}`;
  });
  svg.setAttribute("aria-label", `${last.join("; ")}; over ${minutes} minutes`);
  svg.replaceChildren(...parts);
}
