// What the provider's prompt cache served of a request, and why it missed the rest, from the fields of the log line.

import {plain} from "/ui/charts.js";
import {cost} from "/ui/tables.js";

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
