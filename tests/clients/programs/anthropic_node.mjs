// The Anthropic SDK for Node.js: its stream helper, and its tool runner.
import Anthropic from "@anthropic-ai/sdk";
import { AGAIN, KEY, MODEL, PLEASE, ROOT, SCHEMA, STREAM, VARIANT, lookInto, report } from "./talk.mjs";

const client = new Anthropic({ baseURL: ROOT, apiKey: KEY, maxRetries: 0 });
const looking = { name: "look_into", description: "Look into a box.", input_schema: SCHEMA };
let thoughts = 0;
const said = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");

async function plain(messages) {
  for (;;) {
    const asked = { model: MODEL, max_tokens: 4000, messages, tools: [looking], thinking: { type: "enabled", budget_tokens: 2000 } };
    let done;
    if (STREAM) {
      let text = "";
      const stream = client.messages.stream(asked);
      stream.on("text", (delta) => (text += delta));
      done = await stream.finalMessage();
      if (text !== said(done)) throw new Error(`streamed ${text}, in the end ${said(done)}`);
    } else {
      done = await client.messages.create(asked);
    }
    thoughts += done.content.filter((block) => block.type === "thinking").length;
    messages.push({ role: "assistant", content: done.content });
    const calls = done.content.filter((block) => block.type === "tool_use");
    if (!calls.length) return said(done);
    const results = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: lookInto(call.input) }));
    messages.push({ role: "user", content: results });
  }
}

async function runner(messages) {
  const tools = [{ ...looking, type: "custom", run: lookInto, parse: (input) => input }];
  const running = client.beta.messages.toolRunner({ model: MODEL, max_tokens: 500, messages, tools, stream: STREAM });
  return said(await running.runUntilDone());
}

const messages = [{ role: "user", content: PLEASE }];
if (VARIANT === "messages") {
  const first = await plain(messages);
  messages.push({ role: "user", content: AGAIN });
  report(first, await plain(messages), thoughts);
} else {
  const first = await runner([...messages]);
  report(first, await runner([...messages, { role: "assistant", content: first }, { role: "user", content: AGAIN }]));
}
