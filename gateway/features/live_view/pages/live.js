// The page: what is in flight, what has ended, the charts and the tables, fed by server-sent events.

import {chart, plain} from "./charts.js";
import {close, open, openedKey, tellFacts} from "./opened.js";
import {cacheShare, missedCache} from "./cache.js";
import {cost, renderLimits, renderModels, renderTokens} from "./tables.js";

const MOST_ROWS = 200;    // of streams in flight; the filter finds the others
const MOST_RECENT = 300;
const SILENCE = 3000;     // ms without news after which the page says so

const found = id => document.getElementById(id);
const flight = document.querySelector("#streams tbody");
const ended = document.querySelector("#recent tbody");

const workers = new Map();   // process id -> {streams, recent, points, tokens, about, heard}
const lines = new Map();     // key of a stream -> its <tr> and cells
let shownView = "live";
let held = false;

const ENDED = {
  complete: ["complete", "good"], client_disconnected: ["client left", "warn"], refused: ["rejected", "bad"],
  upstream_error: ["provider failed", "bad"], shutdown: ["gateway shut down", "bad"], internal_error: ["gateway error", "bad"],
};
const STATES = {due: "the next request tries it", tried: "tried by one request"};
const PHASES = {reading: "", waiting: "warn", streaming: "good", "slow client": "warn", ending: "", "no answer": "bad"};

const seconds = value => value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
const ms = value => value === undefined || value === null ? "–" : value < 1000 ? `${plain(value)} ms` : `${(value / 1000).toFixed(2)} s`;
const clock = time => new Date(time).toLocaleTimeString([], {hour12: false});
const age = row => (performance.now() - row.since) / 1000;
const place = row => row.target && row.target !== row.model ? `${row.model ?? "–"}\n→ ${row.target}` : row.model ?? "–";
const about = row => workers.get(row.process)?.about ?? {};
const phase = row => about(row).isSilent ? "no answer" : row.phase;
const spoken = row => [row.api, row.lane].filter(Boolean).join(" · ");

const COLUMNS = [
  {text: row => row.id, open: true, kind: "id"}, {text: phase, kind: "how", mark: row => PHASES[phase(row)]},
  {text: row => seconds(age(row)), kind: "number age"}, {text: row => row.stream ? plain(row.tokens) : "–", kind: "number tokens"},
  {text: row => row.stream ? plain(row.rate) : "–", kind: "number rate"}, {text: row => ms(row.first_byte_ms), kind: "number first"},
  {text: place, kind: "name model"},
  {text: spoken, kind: "more"}, {text: row => row.client ?? "–", kind: "name more"},
  {text: row => row.gateway ?? "–", kind: "name gateway"},
];

const ORDERS = {
  newest: (a, b) => b.began - a.began, oldest: (a, b) => a.began - b.began,
  slowest: (a, b) => a.rate - b.rate || a.began - b.began, tokens: (a, b) => b.tokens - a.tokens || a.began - b.began,
};

// News

function arrived(worker, values) {
  const {columns, process, gateway, is_remote: isRemote} = worker.about;
  const row = Object.fromEntries(columns.map((name, i) => [name, values[i]]));
  Object.assign(row, {process, gateway, isRemote, key: `${process}/${row.n}`, since: performance.now() - row.age * 1000});
  worker.streams.set(row.n, row);
}

/** Everything of a worker; of one at another gateway repeatedly, and then only what has ended since. */
function all(data) {
  const before = data.is_remote ? workers.get(data.process) : undefined;
  const worker = {streams: new Map(), recent: before?.recent ?? [], points: before?.points ?? new Map(), tokens: new Map(), about: data, heard: 0};
  workers.set(data.process, worker);
  for (const values of data.streams) arrived(worker, values);
  more(worker, data);
}

function news(data) {
  const worker = workers.get(data.process);
  if (!worker) return;
  for (const values of data.new) arrived(worker, values);
  for (const [number, changes] of data.changed) {
    const row = worker.streams.get(number);
    if (row) Object.assign(row, changes);
  }
  for (const number of data.gone) worker.streams.delete(number);
  Object.assign(worker.about, {in_flight: data.in_flight, now: data.now, draining: data.draining, out: data.out, limits: data.limits ?? worker.about.limits});
  more(worker, data);
}

function more(worker, data) {
  const {process, steps, now, gateway, is_remote: isRemote} = worker.about;
  worker.heard = performance.now();
  const fresh = data.recent.map(line => ({...line, process, gateway, isRemote, key: `${process}/${line.n}`, id: line.request_id}));
  worker.recent = [...fresh.reverse(), ...worker.recent].slice(0, MOST_RECENT);
  for (const point of data.points) worker.points.set(point[0], point);
  for (const step of worker.points.keys()) if (step <= now - steps) worker.points.delete(step);
  for (const [client, model, ...counts] of data.tokens) worker.tokens.set(JSON.stringify([client, model]), counts);
  tellState();
  if (!held) render();
}

/** Remove other gateways that have stopped, and mark those that no longer answer. */
function gateways(data) {
  const known = new Map(data.gateways.flatMap(({processes, answers}) => processes.map(process => [process, answers])));
  for (const [process, {about}] of workers) {
    if (about.is_remote && !known.has(process)) workers.delete(process);
    else if (about.is_remote) about.isSilent = !known.get(process);
  }
  const silent = data.gateways.filter(one => !one.answers).map(one => `${one.gateway} (since ${clock(one.seen * 1000)})`);
  const words = [silent.length && `No longer answering: ${silent.join(", ")}. Requests there may have ended.`,
    !data.readable && "The state storage is unavailable, so this page shows no news of other gateways."].filter(Boolean);
  if (found("gateways").textContent !== words.join(" ")) found("gateways").textContent = words.join(" ");
  found("gateways").hidden = !words.length;
  if (workers.size && !held) render();
}

const each = () => [...workers.values()];
const streams = () => each().flatMap(worker => [...worker.streams.values()]);
const inFlight = worker => worker.about.isSilent ? 0 : worker.about.in_flight;
const total = of => each().reduce((sum, worker) => sum + of(worker), 0);

function recent() {
  const found = each().flatMap(worker => worker.recent);
  if (workers.size > 1) found.sort((a, b) => b.at.localeCompare(a.at) || b.order - a.order);
  return found.slice(0, MOST_RECENT);
}

// Rendering

function render() {
  renderAbout();
  renderOut();
  renderStreams();
  renderRecent();
  renderCharts();
  if (shownView === "tokens") {
    renderTokens(each().map(worker => worker.tokens));
    renderLimits(each().map(worker => worker.about.limits ?? []));
  }
  const opened = streams().find(row => row.key === openedKey());
  if (opened) tellFacts(opened);
}

function renderAbout() {
  const [one] = each(), {version, process, client} = one.about;
  const names = new Set(each().map(worker => worker.about.gateway));
  const who = names.size > 1 ? `${names.size} gateways` : workers.size > 1 ? `${workers.size} workers` : `process ${process}`;
  found("about").textContent = `version ${version}, ${who}${client ? `, exchanges of ${client}` : ""}`;
  document.body.classList.toggle("several", names.size > 1);
  const draining = each().filter(worker => worker.about.draining).length;
  const text = !draining ? "" : draining === workers.size ? "The gateway is draining: it accepts no new requests."
    : `${draining} of ${workers.size} workers are draining and accept no new requests.`;
  if (found("notice").textContent !== text) found("notice").textContent = text;
  found("notice").hidden = !text;
}

function renderOut() {
  const out = new Map(each().flatMap(worker => worker.about.out ?? []).map(one => [one.target, one]));
  const words = [...out.values()].map(({target, state, reason, seconds: left}) =>
    `${target} (${reason}, ${state === "out" ? seconds(left) : STATES[state] ?? state})`);
  found("out").textContent = words.length ? `In cooldown: ${words.join(", ")}` : "";
  found("out").hidden = !words.length;
}

function opener(cell) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "open";
  cell.append(button);
  return button;
}

function line(row) {
  const element = document.createElement("tr");
  element.dataset.key = row.key;
  const cells = COLUMNS.map(column => {
    const cell = element.insertCell();
    cell.className = column.kind;
    return column.open ? opener(cell) : cell;
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
    if (column.mark) cell.className = `${column.kind} mark ${column.mark(row)}`;
  });
  element.classList.toggle("chosen", row.key === openedKey());
}

function wanted() {
  const words = found("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = row => [row.id, row.phase, ENDED[row.ended]?.[0], row.model, row.target, row.lane, row.api, row.client, row.project, row.message, row.gateway].join(" ").toLowerCase();
  return row => !words.length || words.every(word => text(row).includes(word));
}

function renderStreams() {
  const rows = streams().filter(wanted()).sort(ORDERS[found("order").value]);
  const shown = rows.slice(0, MOST_ROWS), keys = new Set(shown.map(row => row.key));
  const active = document.activeElement, flying = total(inFlight);
  for (const [key, {element}] of lines) {
    if (!keys.has(key)) { element.remove(); lines.delete(key); }
  }
  let next = flight.firstChild;
  for (const row of shown) {
    if (!lines.has(row.key)) lines.set(row.key, line(row));
    const made = lines.get(row.key);
    tell(row, made);
    if (made.element === next) next = next.nextSibling;
    else flight.insertBefore(made.element, next);
  }
  if (active?.isConnected && active !== document.activeElement) active.focus({preventScroll: true});  // it has been moved
  found("shown").textContent = flying > shown.length ? `showing ${shown.length} of ${flying}; filter to find others` : "";
  found("none").hidden = rows.length > 0;
  found("none").textContent = flying ? "No request in flight matches the filter." : "No requests are in flight.";
}

function renderRecent() {
  const known = new Map([...ended.rows].map(row => [row.dataset.key, row]));
  const rows = recent().filter(wanted()).map(one => known.get(one.key) ?? endedRow(one));
  if (rows.length !== ended.rows.length || rows.some((row, i) => row !== ended.rows[i])) {
    const active = document.activeElement;
    ended.replaceChildren(...rows);
    if (active?.isConnected && active !== document.activeElement) active.focus({preventScroll: true});
  }
  for (const row of rows) row.classList.toggle("chosen", row.dataset.key === openedKey());
}

function endedRow(one) {
  const row = document.createElement("tr");
  row.dataset.key = one.key;
  const [word, kind] = ENDED[one.ended] ?? [one.ended, ""];
  const cell = (text, style) => {
    const made = row.insertCell();
    made.textContent = text;
    made.title = text;
    made.className = style;
  };
  const button = opener(row.insertCell());
  button.textContent = one.id;
  button.title = `Open ${one.id}`;
  button.parentElement.className = "id";
  const tokens = one.output_tokens === undefined ? "–" : `${one.usage_estimated ? "≈ " : ""}${plain(one.output_tokens)}`;
  const usual = one.ended !== "complete" || !one.reason || one.reason === "stop";
  cell(usual ? word : `${word}, ${one.reason}`, `how mark ${kind}`);
  cell(clock(one.at), "number at");
  cell(String(one.status), "number status");
  cell(ms(one.duration_ms), "number age");
  cell(ms(one.first_byte_ms), "number first");
  cell(tokens, "number tokens");
  if (one.cost_grade === "subscription") cell("plan", "number cost none");
  else if (one.cost_usd === undefined) cell("–", "number cost none");
  else cell(cost(one.cost_usd, one.cost_grade), "number cost");
  const share = cacheShare(one);
  cell(share ?? "–", share === null ? "number cache none" : `number cache${one.prompt_cache_cause ? " warn" : ""}`);
  cell(place(one), "name model");
  cell(one.client ?? "–", "name more");
  cell(one.gateway ?? "–", "name gateway");
  const tried = one.tried && `tried ${one.tried.map(({target, reason}) => `${target}=${reason}`).join(", ")}`;
  const why = [one.error && `${one.error}: ${one.message ?? ""}`, tried, missedCache(one), one.dropped && `dropped ${one.dropped}`];
  cell(why.filter(Boolean).join("; "), "why");
  return row;
}

// Charts

/** A step of all workers together; of percentiles the mean, by how many first bytes each had. */
function together(points) {
  const found = points.filter(Boolean);
  if (found.length < 2) return found[0];
  const sum = i => found.reduce((all, point) => all + point[i], 0), firsts = sum(7);
  const mean = i => firsts ? found.reduce((all, point) => all + (point[i] ?? 0) * point[7], 0) / firsts : null;
  return [found[0][0], sum(1), sum(2), sum(3), sum(4), mean(5), mean(6), firsts];
}

function renderCharts() {
  const {step, steps} = each()[0].about, now = Math.max(...each().map(worker => worker.about.now)), minutes = step * steps / 60;
  const at = i => together(each().map(worker => worker.points.get(now - steps + 1 + i)));
  const whole = Array.from({length: steps - 1}, (_, i) => at(i));  // the last one still grows
  const rate = i => whole.map(point => point ? point[i] / step : 0);
  const member = i => whole.map(point => point?.[i] ?? null);
  chart(found("chart-rate"), [{name: "requests", kind: "k0", values: rate(1)}], " per second", minutes);
  chart(found("chart-first"), [{name: "p50", kind: "k0", values: member(5)}, {name: "p95", kind: "k1", values: member(6)}], " ms", minutes);
  chart(found("chart-failed"), [{name: "failed", kind: "k2", values: rate(4)}, {name: "client left", kind: "k3", values: rate(3)}], " per second", minutes);
  const sum = i => whole.reduce((all, point) => all + (point?.[i] ?? 0), 0), ends = sum(2) + sum(3) + sum(4);
  found("tile-flight").textContent = plain(total(inFlight));
  found("tile-rate").textContent = plain(rate(1).slice(-5).reduce((all, value) => all + value, 0) / 5);
  found("tile-tokens").textContent = plain(streams().filter(row => !about(row).isSilent).reduce((all, row) => all + (row.rate ?? 0), 0));
  found("tile-first").textContent = ms(member(6).findLast(value => value !== null));
  found("tile-failed").textContent = ends ? `${plain(sum(4))} of ${plain(ends)}` : "–";
}

// The connection

function tellState(lost) {
  const heard = Math.max(0, ...each().map(worker => worker.heard));
  const silent = performance.now() - heard > SILENCE;
  const text = lost || (silent ? "no updates from the gateway" : held ? "paused" : "live");
  const state = found("state");
  if (state.textContent !== text) {
    state.textContent = text;
    state.className = `mark ${text === "live" ? "good" : "warn"}`;
  }
}

const source = new EventSource(new URL("events", import.meta.url));
source.addEventListener("open", () => workers.clear());  // of an earlier connection
source.addEventListener("all", event => all(JSON.parse(event.data)));
source.addEventListener("gateways", event => gateways(JSON.parse(event.data)));
source.addEventListener("news", event => news(JSON.parse(event.data)));
source.addEventListener("gone", event => { workers.delete(JSON.parse(event.data).process); if (workers.size && !held) render(); });
source.addEventListener("error", () => {  // after a refusal, browsers do not reconnect
  tellState(source.readyState === EventSource.CLOSED ? "disconnected: reload this page" : "connection lost; reconnecting…");
});
setInterval(() => { if (source.readyState === EventSource.OPEN) tellState(); }, 1000);

// The person

function choose(rows) {
  return event => {
    const key = event.target.closest("button") && event.target.closest("tr")?.dataset.key;
    if (!key) return;
    const row = rows().find(one => one.key === key);
    if (key === openedKey()) close();
    else if (row) open(row);
  };
}

function walk(event) {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  const rows = [...event.currentTarget.rows], at = rows.indexOf(event.target.closest("tr"));
  const next = step && rows[at + step]?.querySelector("button");
  if (next) { next.focus(); event.preventDefault(); }
}

flight.addEventListener("click", choose(streams));
ended.addEventListener("click", choose(recent));
for (const body of [flight, ended]) body.addEventListener("keydown", walk);

function filter() {
  if (!workers.size) return;
  renderStreams();
  renderRecent();
}

found("filter").addEventListener("input", filter);
found("order").addEventListener("change", filter);
found("hold").addEventListener("click", () => {
  held = !held;
  found("hold").setAttribute("aria-pressed", String(held));
  tellState();
  if (!held && workers.size) render();
});

function view() {
  const wished = location.hash.slice(1);
  shownView = ["tokens", "models"].includes(wished) ? wished : "live";
  for (const link of document.querySelectorAll('nav a[href^="#"]')) {
    const here = link.hash === `#${shownView}`;
    found(`view-${link.hash.slice(1)}`).hidden = !here;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shownView === "models") renderModels();
  if (workers.size) render();
}

window.addEventListener("hashchange", view);
view();
