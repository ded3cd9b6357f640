// The page: what is in flight, what has ended, and the charts, fed by server-sent events.

import {chart, plain} from "/ui/charts.js";
import {close, open, openedNumber, tellFacts} from "/ui/opened.js";

const MOST_ROWS = 200;    // of streams in flight; the filter finds the others
const MOST_RECENT = 100;
const SILENCE = 3000;     // ms without news after which the page says so

const found = id => document.getElementById(id);
const flight = document.querySelector("#streams tbody");
const ended = document.querySelector("#recent tbody");

const streams = new Map();   // number -> row
const lines = new Map();     // number -> its <tr> and cells
let recent = [];
let points = new Map();      // step -> point
let about = {step: 2, steps: 150, in_flight: 0, now: 0};
let heard = 0;
let held = false;

const ENDED = {
  complete: ["complete", "good"], client_disconnected: ["client left", "warn"], refused: ["refused", "bad"],
  upstream_error: ["provider failed", "bad"], shutdown: ["shut down", "bad"], internal_error: ["our mistake", "bad"],
};
const PHASES = {reading: "", waiting: "warn", streaming: "good", "slow client": "warn", ending: ""};

const seconds = value => value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
const ms = value => value === undefined || value === null ? "–" : value < 1000 ? `${plain(value)} ms` : `${(value / 1000).toFixed(2)} s`;
const age = row => (performance.now() - row.since) / 1000;

const COLUMNS = [
  {text: row => row.id, open: true, kind: "id"}, {text: row => row.phase, mark: row => PHASES[row.phase]},
  {text: row => seconds(age(row)), kind: "number"}, {text: row => row.stream ? plain(row.tokens) : "–", kind: "number"},
  {text: row => row.stream ? plain(row.rate) : "–", kind: "number"}, {text: row => ms(row.first_byte_ms), kind: "number"},
  {text: row => row.model ?? "–"}, {text: row => row.target ?? "–", kind: "more"}, {text: row => row.lane ?? "–", kind: "more"},
  {text: row => row.api, kind: "more"}, {text: row => row.client ?? "–", kind: "more"},
];

const ORDERS = {
  newest: (a, b) => b.n - a.n, oldest: (a, b) => a.n - b.n,
  slowest: (a, b) => a.rate - b.rate || a.n - b.n, tokens: (a, b) => b.tokens - a.tokens || a.n - b.n,
};

// News

function arrived(values) {
  const row = Object.fromEntries(about.columns.map((name, i) => [name, values[i]]));
  row.since = performance.now() - row.age * 1000;
  streams.set(row.n, row);
}

function all(data) {
  streams.clear();
  recent = [];
  points = new Map();
  about = data;
  for (const values of data.streams) arrived(values);
  found("about").textContent = `version ${data.version}, process ${data.process}${data.client ? `, exchanges of ${data.client}` : ""}`;
  notice(data.alone ? "" : "Several workers serve this address: this page shows one of them. Reload it to see another.");
  more(data);
}

function news(data) {
  for (const values of data.new) arrived(values);
  for (const [number, changes] of data.changed) {
    const row = streams.get(number);
    if (row) Object.assign(row, changes);
  }
  for (const number of data.gone) streams.delete(number);
  if (data.draining) notice("The gateway is draining: it takes no new requests.");
  Object.assign(about, {in_flight: data.in_flight, now: data.now});
  more(data);
}

function more(data) {
  heard = performance.now();
  recent = [...data.recent.toReversed(), ...recent].slice(0, MOST_RECENT);
  for (const point of data.points) points.set(point[0], point);
  for (const step of points.keys()) if (step <= about.now - about.steps) points.delete(step);
  tellState();
  if (!held) render();
}

function notice(text) {
  found("notice").textContent = text;
  found("notice").hidden = !text;
}

// Rendering

function render() {
  renderStreams();
  renderRecent();
  renderCharts();
  const opened = streams.get(openedNumber());
  if (opened) tellFacts(opened);
}

function line(row) {
  const element = document.createElement("tr");
  element.dataset.number = row.n;
  const cells = COLUMNS.map(column => {
    const cell = element.insertCell();
    if (column.kind) cell.className = column.kind;
    if (!column.open) return cell;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "open";
    cell.append(button);
    return button;
  });
  return {element, cells};
}

function tell(row, {element, cells}) {
  COLUMNS.forEach((column, i) => {
    const text = column.text(row), cell = cells[i];
    if (cell.textContent !== text) {
      cell.textContent = text;
      cell.title = column.open ? `Open ${text}` : text;
    }
    if (column.mark) cell.className = `mark ${column.mark(row)}`;
  });
  element.classList.toggle("chosen", row.n === openedNumber());
}

function chosenRows() {
  const words = found("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = row => [row.id, row.phase, row.model, row.target, row.lane, row.api, row.client].join(" ").toLowerCase();
  const rows = [...streams.values()].filter(row => !words.length || words.every(word => text(row).includes(word)));
  return rows.sort(ORDERS[found("order").value]);
}

function renderStreams() {
  const rows = chosenRows(), shown = rows.slice(0, MOST_ROWS), wanted = new Set(shown.map(row => row.n));
  const active = document.activeElement;
  for (const [number, {element}] of lines) {
    if (!wanted.has(number)) { element.remove(); lines.delete(number); }
  }
  let next = flight.firstChild;
  for (const row of shown) {
    if (!lines.has(row.n)) lines.set(row.n, line(row));
    const made = lines.get(row.n);
    tell(row, made);
    if (made.element === next) next = next.nextSibling;
    else flight.insertBefore(made.element, next);
  }
  if (active?.isConnected && active !== document.activeElement) active.focus({preventScroll: true});  // it has been moved
  found("shown").textContent = about.in_flight > shown.length ? `${shown.length} of ${about.in_flight} shown: the filter finds others` : "";
  found("none").hidden = rows.length > 0;
  found("none").textContent = streams.size ? "Nothing in flight matches the filter." : "Nothing is in flight.";
}

function renderRecent() {
  const known = new Map([...ended.rows].map(row => [row.dataset.order, row]));
  const rows = recent.map(one => known.get(String(one.order)) ?? endedRow(one));
  if (rows.length !== ended.rows.length || rows[0] !== ended.rows[0]) ended.replaceChildren(...rows);
}

function endedRow(one) {
  const row = document.createElement("tr");
  row.dataset.order = one.order;
  const [word, kind] = ENDED[one.ended] ?? [one.ended, ""];
  const cell = (text, style) => {
    const made = row.insertCell();
    made.textContent = text;
    made.title = text;
    if (style) made.className = style;
  };
  const tokens = one.output_tokens === undefined ? "–" : `${one.usage_estimated ? "≈ " : ""}${plain(one.output_tokens)}`;
  cell(new Date(one.at).toLocaleTimeString());
  cell(word, `mark ${kind}`);
  cell(String(one.status), "number");
  cell(one.request_id, "mono id");
  cell(ms(one.duration_ms), "number");
  cell(ms(one.first_byte_ms), "number");
  cell(tokens, "number");
  cell(one.model ?? "–");
  const why = [one.error && `${one.error}: ${one.message ?? ""}`, one.dropped && `dropped ${one.dropped}`];
  cell(why.filter(Boolean).join("; ") || one.reason || "", "why");
  cell(one.target ?? "–", "more");
  cell(one.lane ?? "–", "more");
  cell(one.client ?? "–", "more");
  return row;
}

function renderCharts() {
  const {step, steps, now} = about, minutes = step * steps / 60;
  const whole = Array.from({length: steps - 1}, (_, i) => points.get(now - steps + 1 + i));  // the last one still grows
  const rate = i => whole.map(point => point ? point[i] / step : 0);
  const member = i => whole.map(point => point?.[i] ?? null);
  chart(found("chart-rate"), [{name: "requests", kind: "k0", values: rate(1)}], " a second", minutes);
  chart(found("chart-first"), [{name: "p50", kind: "k0", values: member(5)}, {name: "p95", kind: "k1", values: member(6)}], " ms", minutes);
  chart(found("chart-failed"), [{name: "failed", kind: "k2", values: rate(4)}, {name: "client left", kind: "k3", values: rate(3)}], " a second", minutes);
  const sum = i => [...points.values()].reduce((total, point) => total + point[i], 0);
  const ends = sum(2) + sum(3) + sum(4);
  found("tile-flight").textContent = plain(about.in_flight);
  found("tile-rate").textContent = plain(rate(1).slice(-5).reduce((a, b) => a + b, 0) / 5);
  found("tile-tokens").textContent = plain([...streams.values()].reduce((total, row) => total + (row.rate ?? 0), 0));
  found("tile-first").textContent = ms(member(6).findLast(value => value !== null));
  found("tile-failed").textContent = ends ? `${plain(sum(4))} of ${plain(ends)}` : "–";
}

// The connection

function tellState(lost) {
  const silent = performance.now() - heard > SILENCE;
  const text = lost ? "connection lost: trying again" : silent ? "no news: the gateway is silent" : held ? "held" : "live";
  const state = found("state");
  if (state.textContent !== text) {
    state.textContent = text;
    state.className = `mark ${text === "live" ? "good" : "warn"}`;
  }
}

const source = new EventSource("/ui/events");
source.addEventListener("all", event => all(JSON.parse(event.data)));
source.addEventListener("news", event => news(JSON.parse(event.data)));
source.addEventListener("error", () => tellState(true));
setInterval(() => { if (source.readyState === EventSource.OPEN) tellState(); }, 1000);

// The person

flight.addEventListener("click", event => {
  const row = event.target.closest("tr");
  if (!row || !event.target.closest("button")) return;
  const number = Number(row.dataset.number);
  if (number === openedNumber()) close();
  else if (streams.has(number)) open(streams.get(number));
});

flight.addEventListener("keydown", event => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  const rows = [...flight.rows], at = rows.indexOf(event.target.closest("tr"));
  const next = step && rows[at + step]?.querySelector("button");
  if (next) { next.focus(); event.preventDefault(); }
});

found("filter").addEventListener("input", renderStreams);
found("order").addEventListener("change", renderStreams);
found("hold").addEventListener("click", () => {
  held = !held;
  found("hold").setAttribute("aria-pressed", String(held));
  tellState();
  if (!held) render();
});
