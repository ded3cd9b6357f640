// The tables that change seldom: tokens and costs by client and model, limits, and the models with how each is reached.

import {plain} from "./charts.js";

const tokens = document.querySelector("#tokens-table tbody");
const models = document.querySelector("#models-table tbody");

const LANES = {byte: () => "byte: unchanged", hub: api => `hub: translated to ${api}`};

const limits = document.querySelector("#limits-table tbody");

const SIGNS = {exact: "", estimated: "≈ ", at_least: "≥ "};

/** Dollars, with as many decimals as tell one small sum from another. */
const dollars = value => `$${value.toLocaleString("en", {minimumFractionDigits: 2, maximumFractionDigits: value < 1 ? 6 : 2})}`;

export const cost = (value, grade) => `${SIGNS[grade] ?? ""}${dollars(value)}`;

const amount = (value, measure) => measure === "usd" ? dollars(value / 1e9) : plain(value);

function row(cells) {
  const made = document.createElement("tr");
  for (const [text, kind] of cells) {
    const cell = made.insertCell();
    cell.textContent = text;
    cell.className = kind ?? "";
    cell.title = text;
  }
  return made;
}

/** `counted`: of each worker a map from [client, model] to its counts, which are added up. */
export function renderTokens(counted) {
  const sums = new Map();
  for (const one of counted) {
    for (const [key, counts] of one) sums.set(key, (sums.get(key) ?? counts.map(() => 0)).map((sum, i) => sum + counts[i]));
  }
  const rows = [...sums].map(([key, counts]) => [...JSON.parse(key), ...counts]).sort((a, b) => b[3] + b[5] - a[3] - a[5]);
  const all = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(i => rows.reduce((sum, one) => sum + one[i + 2], 0));
  const spent = (sum, guessed, short, plan, exchanges) => plan === exchanges ? "plan"
    : short === exchanges && !sum ? "–" : cost(sum, short ? "at_least" : guessed ? "estimated" : "exact");
  const line = ([client, model, exchanges, input, cached, output, estimated, sum, guessed, short, plan], kind) => row([
    [client ?? "–", `name client ${client === null ? "none" : ""} ${kind}`], [model ?? "–", `name model ${kind}`],
    ...Object.entries({exchanges, in: input, cached, out: output}).map(([name, count]) => [plain(count), `number ${name} ${kind}`]),
    [estimated ? plain(estimated) : "–", `number more ${kind}`],
    [spent(sum, guessed, short, plan, exchanges), `number cost ${kind}`]]);
  tokens.replaceChildren(...rows.map(one => line(one, "")), ...rows.length > 1 ? [line(["total", "", ...all], "sum")] : []);
  document.getElementById("no-tokens").hidden = rows.length > 0;
}

function bar(share, words) {
  const made = document.createElement("meter");
  Object.assign(made, {min: 0, max: 1, low: 0.8, high: 0.999, optimum: 0, value: Math.min(share, 1), title: words});
  made.setAttribute("aria-label", words);
  return made;
}

/** `told`: of each worker the limits, which all of them count together. */
export function renderLimits(told) {
  const found = new Map(told.flat().map(one => [`${one[0]} ${one[1]} ${one[2]}`, one]));
  const rows = [...found.values()].map(([holder, limit, text, measure, used, held, most]) => ({
    holder, words: limit === "budgets" ? text : `${limit} ${text}`, measure, used, held, most, share: most ? (used + held) / most : 1,
  })).sort((a, b) => b.share - a.share);
  limits.replaceChildren(...rows.map(one => {
    const percent = `${Math.round(one.share * 100)} %`;
    const made = row([
      [one.holder, "name model"], [one.words, "words"], ["", "share"], [`${amount(one.used, one.measure)}`, "number spent"],
      [one.held ? amount(one.held, one.measure) : "–", "number held"], [amount(one.most, one.measure), "number most"]]);
    made.cells[2].append(bar(one.share, `${percent} of ${one.words} of ${one.holder}`), ` ${percent}`);
    return made;
  }));
  document.getElementById("limits").hidden = !rows.length;
}

export async function renderModels() {
  const notice = document.getElementById("no-models");
  try {
    const answer = await fetch(new URL("models", import.meta.url));
    if (!answer.ok) throw new Error(await answer.text());
    const found = await answer.json();
    models.replaceChildren(...found.flatMap(one => one.ways.map((way, i) => {
      const made = row([
        [i ? "" : one.name, "name model"], [i ? "" : one.why, "name more"], [i ? "" : one.target, "name"],
        [way.clients.join(", "), "clients"], [LANES[way.lane]?.(way.api) ?? "–", ""], [way.url, "url mono"]]);
      made.className = i ? "again" : "";
      return made;
    })));
    notice.textContent = found.length ? "" : "Your key may use no model.";
  } catch (error) {
    notice.textContent = `Could not load the models: ${error.message}`;
  }
  notice.hidden = !notice.textContent;
}
