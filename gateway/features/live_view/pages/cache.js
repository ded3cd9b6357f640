// What the provider's prompt cache served of a request, and why it missed the rest, from the fields of the log line.

import {plain} from "./charts.js";
import {cost} from "./tables.js";

const UNKNOWN = {
  not_seen: "the conversation began before a restart, at another gateway, or too long ago",
  not_reported: "the provider reports no cached tokens", no_usage: "the stream ended before its usage",
  no_row: "the rules of this provider's cache are not known",
  contradiction: "the provider's number contradicts the comparison of the prompts",
};

const unreported = line => ["unknown:not_reported", "unknown:no_usage"].includes(line.prompt_cache_cause);

/** The share that was served, rounded down: 99.9 % is not everything. Null without a verdict. */
export function cacheShare(line) {
  const could = line.prompt_cache_could;
  if (!could || unreported(line)) return null;
  return `${Math.floor(100 * (could - line.prompt_cache_missed) / could)} %`;
}

function reason(cause, at) {
  const [word, why] = cause.split(":");
  if (word === "unknown") return `unknown: ${UNKNOWN[why] ?? why ?? "–"}`;
  if (at && ["tools", "system", "settings", "history"].includes(cause)) return at;  // which begins with the cause
  return at ? `${cause}, ${at}` : cause;
}

const lost = (usd, grade) => usd ? `, ${cost(usd, grade)}` : "";

/** A miss in a line of text; empty without one. Unknown causes suggest nothing to do. */
export function missedCache(line) {
  const cause = line.prompt_cache_cause;
  if (!cause || cause.startsWith("unknown")) return "";
  const missed = `${plain(line.prompt_cache_missed)} of ${plain(line.prompt_cache_could)} tokens`;
  const reasons = (line.prompt_cache_causes ?? [{cause, at: line.prompt_cache_at}]).map(one => reason(one.cause, one.at));
  return `prompt cache missed ${missed}${lost(line.prompt_cache_usd, line.prompt_cache_grade)}: ${reasons.join("; ")}`;
}

/** Pairs of words and values for the facts of an opened request. */
export function cacheFacts(line) {
  const could = line.prompt_cache_could, cause = line.prompt_cache_cause;
  if (could === undefined && !cause) return [];
  const pairs = unreported(line) ? [] : [["prompt cache", `missed ${plain(line.prompt_cache_missed ?? 0)} of ${plain(could ?? 0)} tokens`]];
  const causes = line.prompt_cache_causes ?? (cause ? [{cause, at: line.prompt_cache_at, usd: line.prompt_cache_usd}] : []);
  for (const one of causes) {
    const tokens = one.tokens === undefined ? "" : `, ${plain(one.tokens)} tokens`;
    pairs.push(["cause", `${reason(one.cause, one.at)}${tokens}${lost(one.usd, line.prompt_cache_grade)}`]);
  }
  if (line.prompt_cache_idle_s !== undefined) pairs.push(["unused for", `${plain(line.prompt_cache_idle_s)} s`]);
  if (line.prompt_cache_provider) pairs.push(["provider's diagnosis", line.prompt_cache_provider]);
  return pairs;
}

// The texts around the first difference

const CHANGES = ["tools", "system", "settings", "history", "edited", "compacted"];
const OFF = "The gateway keeps no texts. With prompt_cache: {texts: 16MiB} in its configuration, this page shows 200 characters around a difference.";
const FORGOTTEN = "The text of the previous request is not in the gateway's memory.";

const section = document.getElementById("difference");
const note = document.getElementById("difference-note");
const texts = document.getElementById("difference-texts");

const differs = line => [line?.prompt_cache_cause, ...(line?.prompt_cache_causes ?? []).map(one => one.cause)].some(cause => CHANGES.includes(cause));

function excerpt(title, part) {
  const made = document.createElement("figure"), caption = document.createElement("figcaption"), text = document.createElement("pre");
  caption.textContent = title;
  if (part === null) {
    text.className = "soft";
    text.textContent = "nothing at this position";
  } else {
    const changed = document.createElement("mark");
    changed.textContent = part.changed;
    text.append(part.is_start ? "" : "…", part.before, changed, part.after, part.is_end ? "" : "…");
  }
  made.append(caption, text);
  return made;
}

/** Show old beside new at the first difference, or why there are no texts. `told` is of the stream, `line` of the log. */
export function showDifference(told, line) {
  const found = told?.difference;
  section.hidden = !found && !(told && differs(line));
  texts.replaceChildren();
  note.textContent = section.hidden ? "" : found ? `${found.path}, as the gateway sent it` : told.texts ? FORGOTTEN : OFF;
  if (found) texts.append(excerpt("before", found.old), excerpt("now", found.new));
}
