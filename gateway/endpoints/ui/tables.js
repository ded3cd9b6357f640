// The tables that change seldom: tokens by client and model, and the models with how each is reached.

import {plain} from "/ui/charts.js";

const tokens = document.querySelector("#tokens-table tbody");
const models = document.querySelector("#models-table tbody");

const LANES = {byte: () => "byte: as it is", hub: api => `hub: translated to ${api}`};

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
  const all = [0, 1, 2, 3, 4].map(i => rows.reduce((sum, one) => sum + one[i + 2], 0));
  const line = ([client, model, exchanges, input, cached, output, estimated], kind) => row([
    [client ?? "–", `name client ${client === null ? "none" : ""} ${kind}`], [model ?? "–", `name model ${kind}`],
    ...Object.entries({exchanges, in: input, cached, out: output}).map(([name, count]) => [plain(count), `number ${name} ${kind}`]),
    [estimated ? plain(estimated) : "–", `number more ${kind}`]]);
  tokens.replaceChildren(...rows.map(one => line(one, "")), ...rows.length > 1 ? [line(["all", "", ...all], "sum")] : []);
  document.getElementById("no-tokens").hidden = rows.length > 0;
}

export async function renderModels() {
  const notice = document.getElementById("no-models");
  try {
    const answer = await fetch("/ui/models");
    if (!answer.ok) throw new Error(await answer.text());
    const found = await answer.json();
    models.replaceChildren(...found.flatMap(one => one.ways.map((way, i) => {
      const made = row([
        [i ? "" : one.name, "name model"], [i ? "" : one.why, "name more"], [i ? "" : one.target, "name"],
        [way.clients.join(", "), ""], [LANES[way.lane]?.(way.api) ?? "–", ""], [way.url, "url mono"]]);
      made.className = i ? "again" : "";
      return made;
    })));
    notice.textContent = found.length ? "" : "There is no model that you may use.";
  } catch (error) {
    notice.textContent = `The models cannot be shown: ${error.message}`;
  }
  notice.hidden = !notice.textContent;
}
