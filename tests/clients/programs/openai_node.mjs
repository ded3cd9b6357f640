// The OpenAI SDK for Node.js, with its stream and tool helpers.
import OpenAI from "openai";
import { AGAIN, BASE, KEY, MODEL, PLEASE, SCHEMA, STREAM, VARIANT, lookInto, report } from "./talk.mjs";

const client = new OpenAI({ baseURL: BASE, apiKey: KEY, maxRetries: 0 });
let thoughts = 0;

async function chat(messages) {
  const looking = { name: "look_into", description: "Look into a box.", parameters: SCHEMA };
  const tools = [{ type: "function", function: { ...looking, parse: JSON.parse, function: lookInto } }];
  const runner = client.chat.completions.runTools({ model: MODEL, messages, tools, stream: STREAM });
  const text = await runner.finalContent();
  return [text, runner.messages];
}

async function responses(input) {
  const tools = [{ type: "function", name: "look_into", description: "Look into a box.", parameters: SCHEMA, strict: true }];
  for (;;) {
    const asked = { model: MODEL, input, tools, store: false, include: ["reasoning.encrypted_content"], reasoning: { effort: "medium", summary: "auto" } };
    let done;
    if (STREAM) {
      let text = "";
      const stream = client.responses.stream(asked);
      stream.on("response.output_text.delta", (event) => (text += event.delta));
      done = await stream.finalResponse();
      if (text !== done.output_text) throw new Error(`streamed ${text}, in the end ${done.output_text}`);
    } else {
      done = await client.responses.create(asked);
    }
    thoughts += done.output.filter((item) => item.type === "reasoning").length;
    const calls = done.output.filter((item) => item.type === "function_call");
    input.push(...done.output.map(({ parsed_arguments, ...item }) => item));
    if (!calls.length) return done.output_text;
    for (const call of calls) {
      const output = lookInto(JSON.parse(call.arguments));
      input.push({ type: "function_call_output", call_id: call.call_id, output });
    }
  }
}

if (VARIANT === "chat") {
  const [first, messages] = await chat([{ role: "user", content: PLEASE }]);
  const [second] = await chat([...messages, { role: "user", content: AGAIN }]);
  report(first, second);
} else {
  const input = [{ role: "user", content: PLEASE }];
  const first = await responses(input);
  input.push({ role: "user", content: AGAIN });
  report(first, await responses(input), thoughts);
}
