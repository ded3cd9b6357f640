// Events of the six APIs: what each says, and what it is called.

/** The events in `text`, each {raw, name, data}; `data` is null where it is no JSON, or was cut. */
export function events(text) {
  return text.split(/(?<=\r?\n\r?\n)/).filter(raw => raw.trim()).map(raw => {
    const lines = raw.split(/\r?\n/);
    const named = field => lines.filter(line => line.startsWith(`${field}:`)).map(line => line.slice(field.length + 1).trimStart());
    const body = named("data").join("\n") || (raw.trimStart().startsWith("{") ? raw : "");
    let data = null;
    try { data = JSON.parse(body); } catch { /* a comment, [DONE], or what was too long to be shown whole */ }
    return {raw, name: named("event")[0] ?? "", body, data: data !== null && typeof data === "object" ? data : null};
  });
}

const list = value => Array.isArray(value) ? value : [];  // a provider may send anything
const some = (kind, text) => typeof text === "string" && text ? [{kind, text}] : [];

function chat(data) {
  return list(data.choices).flatMap(choice => {
    const said = choice?.delta ?? choice?.message ?? {};
    const calls = list(said.tool_calls).flatMap(call => [
      ...some("call", call?.function?.name ?? call?.custom?.name), ...some("arguments", call?.function?.arguments ?? call?.custom?.input)]);
    return [...some("thinking", said.reasoning_content ?? said.reasoning), ...some("text", said.content), ...some("refusal", said.refusal), ...calls];
  });
}

const BLOCKS = {
  text: block => some("text", block.text), thinking: block => some("thinking", block.thinking),
  tool_use: block => some("call", block.name), server_tool_use: block => some("call", block.name), mcp_tool_use: block => some("call", block.name),
};
const DELTAS = {
  text_delta: delta => some("text", delta.text), thinking_delta: delta => some("thinking", delta.thinking),
  input_json_delta: delta => some("arguments", delta.partial_json),
};
const contents = value => list(value).flatMap(one => some("text", one?.text));

/** What a first step or a delta of Interactions says; a delta may lack its type. */
function interactions(value) {
  if (value === null || typeof value !== "object") return [];
  const args = typeof value.arguments === "string" ? value.arguments
    : Object.keys(value.arguments ?? {}).length ? JSON.stringify(value.arguments) : "";
  return [
    ...contents(value.summary).map(one => ({...one, kind: "thinking"})), ...contents(value.content),
    ...some("thinking", value.content?.text), ...some("text", value.text),
    ...some("call", /_call$/.test(value.type) ? value.name ?? value.type : ""), ...some("arguments", args)];
}

const NAMED = {  // by the type of the event, or its name: Messages, Converse, Interactions, then Responses
  content_block_start: data => BLOCKS[data.content_block?.type]?.(data.content_block) ?? [],
  content_block_delta: data => DELTAS[data.delta?.type]?.(data.delta) ?? [],
  contentBlockStart: data => some("call", data.start?.toolUse?.name),
  contentBlockDelta: ({delta}) => [
    ...some("text", delta?.text), ...some("thinking", delta?.reasoningContent?.text), ...some("arguments", delta?.toolUse?.input)],
  "step.start": data => interactions(data.step),
  "step.delta": data => interactions(data.delta),
  "response.output_text.delta": data => some("text", data.delta),
  "response.refusal.delta": data => some("refusal", data.delta),
  "response.reasoning_text.delta": data => some("thinking", data.delta),
  "response.reasoning_summary_text.delta": data => some("thinking", data.delta),
  "response.function_call_arguments.delta": data => some("arguments", data.delta),
  "response.custom_tool_call_input.delta": data => some("arguments", data.delta),
  "response.output_item.added": data => some("call", data.item?.name),
};

function gemini(data) {
  return list(data.candidates).flatMap(one => list(one?.content?.parts)).flatMap(part => [
    ...some(part?.thought ? "thinking" : "text", part?.text), ...some("call", part?.functionCall?.name),
    ...(part?.functionCall?.args ? some("arguments", JSON.stringify(part.functionCall.args)) : [])]);
}

/** What an event says, in pieces {kind, text}. */
export function said({name, data}) {
  if (data === null) return [];
  if (name === ":exception" || name === ":error") return some("error", data.message || data.type);
  if (Array.isArray(data.candidates)) return gemini(data).filter(one => one.text);
  const failed = data.error ?? data.response?.error;
  if (failed) return some("error", failed.message ?? JSON.stringify(failed));
  return (NAMED[data.type ?? data.event_type ?? name] ?? chat)(data).filter(one => one.text);
}

/** What an event is called where it says nothing. */
export function called({raw, name, body, data}) {
  if (data === null) return name || body.slice(0, 40) || raw.trim().slice(0, 40);
  const reason = data.choices?.[0]?.finish_reason;
  if (Array.isArray(data.choices)) return reason ? `finish_reason: ${reason}` : data.usage ? "usage" : "chunk";
  if (Array.isArray(data.candidates)) return data.candidates[0]?.finishReason ? `finishReason: ${data.candidates[0].finishReason}` : "chunk";
  return data.type ?? data.event_type ?? (name || "event");
}

/** The same for events that differ in nothing but what they say. */
export function shape(event, pieces) {
  return [event.name, event.data?.type ?? event.data?.object ?? called(event), ...pieces.map(one => one.kind)].join(" ");
}
