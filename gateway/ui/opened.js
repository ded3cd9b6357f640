// One stream opened: both sides' events side by side, as they pass.

const MOST = 500;  // events that the page keeps
const SIDES = {came: "from the provider", went: "to the client"};
const NOTHING = {came: "from the gateway itself", went: "nothing for the client"};

const section = document.getElementById("opened");
const title = document.getElementById("opened-title");
const state = document.getElementById("opened-state");
const facts = document.getElementById("facts");
const passed = document.getElementById("passed");
const follow = document.getElementById("follow");

let source = null;
let chosen = null;
let kept = 0;
let returnTo = null;

export const openedNumber = () => chosen;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function size(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : `${(bytes / 1024).toFixed(1)} KiB`;
}

function side(text, bytes, kind) {
  const cut = new TextEncoder().encode(text).length < bytes ? `\n… ${size(bytes)} in all` : "";
  const made = bytes ? element("pre", text.trimEnd() + cut, kind) : element("pre", NOTHING[kind], `${kind} nothing`);
  made.setAttribute("role", "group");  // what is above the columns is only seen
  made.setAttribute("aria-label", SIDES[kind]);
  return made;
}

function show(row) {
  if (row.lost) passed.append(element("p", `${row.lost} events were not shown: this page did not keep up`, "gap"));
  const pair = element("div", undefined, "pair");
  pair.append(element("time", `+${row.at.toFixed(3)} s`), side(row.came, row.came_bytes, "came"), side(row.went, row.went_bytes, "went"));
  passed.append(pair);
  if (row.note) passed.append(element("p", `the provider's side broke off: ${row.note}`, "gap"));
  kept += 1;
}

/** What is known of the stream, from its row or from its log line. */
export function tellFacts(row) {
  const names = {
    phase: "phase", ended: "ended", status: "status", api: "client speaks", model: "model", target: "target",
    lane: "lane", client: "client", attempts: "attempts", error: "error", message: "message",
  };
  const pairs = Object.entries(names).filter(([name]) => (row[name] ?? null) !== null).map(([name, word]) => [word, String(row[name])]);
  const dropped = Array.isArray(row.dropped) ? row.dropped.join(", ") : row.dropped;
  pairs.push(["dropped from the request", dropped || "nothing"]);
  facts.replaceChildren(...pairs.map(([word, value]) => {
    const item = element("div");
    item.append(element("dt", word), element("dd", value));
    return item;
  }));
}

export function close() {
  source?.close();
  source = chosen = null;
  section.hidden = true;
  passed.replaceChildren();
  (returnTo?.isConnected ? returnTo : document.getElementById("filter")).focus();  // its row is gone once it has ended
}

export function open(row) {
  source?.close();
  returnTo = document.activeElement;
  chosen = row.n;
  kept = 0;
  passed.replaceChildren();
  section.hidden = false;
  title.textContent = `Stream ${row.id}`;
  state.textContent = "connecting…";
  tellFacts(row);
  source = new EventSource(`/ui/streams/${row.n}`);
  source.addEventListener("opened", () => { state.textContent = "open: what passes from now on is shown"; });
  source.addEventListener("passed", event => {
    for (const one of JSON.parse(event.data)) show(one);
    while (kept > MOST && passed.firstChild) {
      if (passed.firstChild.className === "pair") kept -= 1;
      passed.firstChild.remove();
    }
    if (follow.checked) passed.scrollTop = passed.scrollHeight;
  });
  source.addEventListener("ended", event => {
    source.close();  // else the browser would come back for more
    const {lost, line} = JSON.parse(event.data);
    if (lost) passed.append(element("p", `${lost} events were not shown: this page did not keep up`, "gap"));
    state.textContent = line ? `ended: ${line.ended.replaceAll("_", " ")}` : "ended";
    if (line) tellFacts(line);
    if (follow.checked) passed.scrollTop = passed.scrollHeight;
  });
  source.addEventListener("error", () => {
    source.close();
    if (!state.textContent.startsWith("ended")) state.textContent = "nothing can be shown: it has ended, is no stream, or the gateway cannot be reached";
  });
  title.focus();
}

document.getElementById("close").addEventListener("click", close);
section.addEventListener("keydown", event => { if (event.key === "Escape") close(); });
