// The request of an opened exchange, where the operator has chosen that prompts are shown (ui_prompts).

const section = document.getElementById("prompt");
const turns = document.getElementById("turns");
const body = document.getElementById("body");

const INSTRUCTIONS = ["system", "instructions", "systemInstruction", "system_instruction"];

/** The words in a piece of content of any of the six APIs; what has none is named by its type. */
function words(value) {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(words).filter(Boolean).join("\n");
  if (value === null || typeof value !== "object") return "";
  const inner = value.text ?? value.content ?? value.parts ?? value.thinking ?? value.output ?? value.result ?? value.summary;
  if (inner !== undefined && typeof inner !== "number") return words(inner);
  return `[${value.type ?? Object.keys(value)[0] ?? "empty"}${value.name ? ` ${value.name}` : ""}]`;
}

/** Pairs of a role and its words: the instructions, then the turns in their order. */
function said(asked) {
  const found = INSTRUCTIONS.filter(name => asked[name]).map(name => ["system", words(asked[name])]);
  const list = asked.messages ?? asked.contents ?? asked.input;
  if (typeof list === "string") found.push(["user", list]);
  for (const one of Array.isArray(list) ? list : typeof list === "object" && list !== null ? [list] : []) found.push([one?.role ?? one?.type ?? "user", words(one)]);
  return found.filter(([, text]) => text);
}

function turn([role, text]) {
  const made = document.createElement("div"), name = document.createElement("span"), spoken = document.createElement("p");
  made.className = "said";
  name.className = "soft";
  name.textContent = role;
  spoken.textContent = text;
  made.append(name, spoken);
  return made;
}

/** Show the request of which `told` has the text and the size; nothing where it is not kept. */
export function showPrompt(told) {
  section.hidden = told?.prompt === undefined;
  turns.replaceChildren();
  body.textContent = "";
  if (section.hidden) return;
  let asked = null;
  try { asked = JSON.parse(told.prompt); } catch { /* cut, because it was long, or no JSON */ }
  section.querySelector("summary").textContent = `Request body, ${told.bytes.toLocaleString("en")} bytes`;
  if (asked !== null && typeof asked === "object") turns.append(...said(asked).map(turn));
  body.textContent = asked === null ? told.prompt : JSON.stringify(asked, null, 2);
  section.open = true;
  turns.scrollTop = turns.scrollHeight;  // the newest turn is the last
}
