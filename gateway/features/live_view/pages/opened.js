// One stream opened: what was said, and both sides' events side by side.

import {cacheFacts, showDifference} from "./cache.js";
import {called, events, said, shape} from "./events.js";
import {showPrompt} from "./prompt.js";

const MOST = 2000;          // rows of events that the page keeps
const MOST_SAID = 200000;   // characters of what was said
const SIDES = {came: "from the provider", went: "to the client"};
const NOTHING = {came: "from the gateway itself", went: "nothing sent to the client"};
const KINDS = {text: "", thinking: "thinking", call: "tool call", arguments: "arguments", refusal: "refusal", error: "error"};
const KEPT = {
  "kept": "", "not kept": "The gateway does not keep its events: ui_keep is false, or a step restored masked values.",
  "let go": "Its events were removed to make room for later streams.",
};

const section = document.getElementById("opened");
const title = document.getElementById("opened-title");
const state = document.getElementById("opened-state");
const facts = document.getElementById("facts");
const answer = document.getElementById("answer");
const passed = document.getElementById("passed");
const follow = document.getElementById("follow");

let source = null;
let chosen = null;
let kept = 0;
let saidSize = 0;
let seen = new Set();       // shapes of events that have been shown whole
let returnTo = null;

export const openedKey = () => chosen;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function size(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : `${(bytes / 1024).toFixed(1)} KiB`;
}

// What was said

/** Text goes on in the block that it began in; whatever else comes begins another. */
function tellSaid({kind, text}) {
  if (saidSize > MOST_SAID) return;
  saidSize += text.length;
  let block = answer.lastElementChild;
  if (block?.dataset.kind !== kind || kind === "call") {
    block = element("div", undefined, `said ${kind}`);
    block.dataset.kind = kind;
    if (KINDS[kind]) block.append(element("span", KINDS[kind], "soft"));
    block.append(element("p", ""));
    answer.append(block);
  }
  block.lastElementChild.append(saidSize > MOST_SAID ? " … see the events below for the rest" : text);
}

// Events

/** What it says first; the whole of it is folded away if one of its shape has been shown. */
function folded(event, which) {
  const pieces = said(event), made = element("details"), line = element("summary");
  for (const {kind, text} of pieces) line.append(element("span", text, `delta ${kind}`));
  line.append(element("span", pieces.length ? pieces.map(one => one.kind).join(", ") : called(event), "soft"));
  const known = `${which} ${shape(event, pieces)}`;
  made.open = !seen.has(known);
  seen.add(known);
  made.append(line, element("pre", event.raw.trimEnd()));
  return made;
}

function side(text, bytes, which) {
  const made = element("div", undefined, which);
  made.setAttribute("role", "group");  // what is above the columns is only seen
  made.setAttribute("aria-label", SIDES[which]);
  if (!bytes) made.append(element("p", NOTHING[which], "soft"));
  const found = events(text);
  made.append(...found.map(event => folded(event, which)));
  if (new TextEncoder().encode(text).length < bytes) made.append(element("p", `… truncated, ${size(bytes)} in total`, "soft"));
  return made;
}

function gap(text) {
  passed.append(element("p", text, "gap"));
}

function show(row) {
  if (row.lost) gap(`${row.lost} events are missing: this page was too slow`);
  if (row.left_out) gap(`${size(row.left_out)} are missing here: the memory for events was full`);
  if (row.came_bytes || row.went_bytes) {
    const pair = element("div", undefined, "pair"), same = row.came === row.went && row.came_bytes === row.went_bytes;
    const went = same ? element("div", undefined, "went") : side(row.went, row.went_bytes, "went");
    if (same) {
      went.setAttribute("role", "group");
      went.setAttribute("aria-label", SIDES.went);
      went.append(element("p", "unchanged", "soft"));
    }
    pair.append(element("time", `+${row.at.toFixed(3)} s`), side(row.came, row.came_bytes, "came"), went);
    passed.append(pair);
    for (const event of events(row.went)) said(event).forEach(tellSaid);
    kept += 1;
  }
  if (row.note) gap(`the provider's stream broke off: ${row.note}`);
}

// Facts

/** What is known of the stream, from its row or from its log line. */
export function tellFacts(row) {
  const names = {
    phase: "phase", ended: "ended", status: "status", reason: "reason", api: "client API", model: "model", target: "target",
    lane: "lane", client: "client", gateway: "gateway", attempts: "attempts", input_tokens: "input tokens", output_tokens: "output tokens",
    cost_usd: "cost in dollars", cost_grade: "cost grade", run: "run", project: "project",
    error: "error", message: "message", upstream_request_id: "provider's request id",
  };
  const pairs = Object.entries(names).filter(([name]) => (row[name] ?? null) !== null).map(([name, word]) => [word, String(row[name])]);
  pairs.push(...cacheFacts(row));
  const tried = (row.tried ?? []).map(one => one.target ? `${one.target}=${one.reason}` : one);  // a log line has objects
  if (tried.length) pairs.push(["tried", tried.join(", ")]);
  const dropped = Array.isArray(row.dropped) ? row.dropped.join(", ") : row.dropped;
  pairs.push(["dropped fields", dropped || "none"]);
  facts.replaceChildren(...pairs.map(([word, value]) => {
    const item = element("div");
    item.append(element("dt", word), element("dd", value));
    return item;
  }));
}

// Open and close

export function close() {
  source?.close();
  const now = document.querySelector(`tr[data-key="${CSS.escape(chosen ?? "")}"] button`);  // its row may have gone to the other table
  source = chosen = null;
  section.hidden = true;
  showPrompt();
  showDifference();
  passed.replaceChildren();
  answer.replaceChildren();
  (returnTo?.isConnected ? returnTo : now ?? document.getElementById("filter")).focus();
}

function toTheEnd() {
  if (follow.checked) passed.scrollTop = passed.scrollHeight;
}

export function open(row) {
  source?.close();
  returnTo = document.activeElement === document.body ? null : document.activeElement;
  chosen = row.key;
  section.hidden = false;
  title.textContent = `Request ${row.id}`;
  tellFacts(row);
  connect(row);
  title.focus();
}

/** An EventSource does not tell why it was refused. */
async function tellRefusal(url, refused) {
  const stop = new AbortController(), reply = await fetch(url, {signal: stop.signal}).catch(() => null);
  if (reply?.status === 403 && source === refused) state.textContent = `not available: ${await reply.text()}`;
  else stop.abort();
}

/** Show the events of a stream from its first one on. */
function connect(row) {
  kept = saidSize = 0;
  seen = new Set();
  passed.replaceChildren();
  answer.replaceChildren();
  showPrompt();
  showDifference();
  if (row.isRemote) {
    state.textContent = `Events and texts stay at the gateway of a request: open the live view of ${row.gateway}.`;
    return;
  }
  state.textContent = "connecting…";
  const url = new URL(`streams/${row.n}?worker=${row.process}`, import.meta.url), mine = source = new EventSource(url);
  let isOpen = false;
  source.addEventListener("opened", event => {
    isOpen = true;
    const told = JSON.parse(event.data), {kept} = told;
    showPrompt(told);
    showDifference(told, row);
    state.textContent = row.ended ? "open" : kept === "kept" ? "open: live" : `open: live. ${KEPT[kept]}`;
    if (row.ended && KEPT[kept]) gap(row.stream ? KEPT[kept] : "This response was not streamed, so it has no events.");
  });
  source.addEventListener("passed", event => {
    for (const one of JSON.parse(event.data)) show(one);
    while (kept > MOST && passed.firstChild) {
      if (passed.firstChild.className === "pair") kept -= 1;
      passed.firstChild.remove();
    }
    if (!row.ended) toTheEnd();
  });
  source.addEventListener("ended", event => {
    source.close();  // else the browser would come back for more
    const told = JSON.parse(event.data), {lost, line} = told;
    showDifference(told, line);
    if (lost) gap(`${lost} events are missing: this page was too slow`);
    state.textContent = line ? `ended: ${line.ended.replaceAll("_", " ")}` : "ended";
    if (line) tellFacts(line);
    if (!row.ended) toTheEnd();
  });
  source.addEventListener("reconnect", () => {  // the gateway has a new configuration
    source.close();
    connect(row);
  });
  source.addEventListener("error", () => {
    mine.close();
    if (state.textContent.startsWith("ended")) return;
    state.textContent = "not available: it ended too long ago, has no stream yet, or the gateway ended the connection: open it again";
    if (!isOpen) tellRefusal(url, mine);
  });
}

document.getElementById("close").addEventListener("click", close);
section.addEventListener("keydown", event => { if (event.key === "Escape") close(); });
