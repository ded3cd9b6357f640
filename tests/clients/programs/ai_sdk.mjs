// The Vercel AI SDK with each of its providers that has an address to set.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { AGAIN, BASE, KEY, MODEL, PLEASE, STREAM, VARIANT, lookInto, report } from "./talk.mjs";

const settings = { baseURL: BASE, apiKey: KEY };
const models = {
  responses: () => createOpenAI(settings).responses(MODEL),
  chat: () => createOpenAI(settings).chat(MODEL),
  messages: () => createAnthropic(settings)(MODEL),
  compatible: () => createOpenAICompatible({ ...settings, name: "trigate", includeUsage: true })(MODEL),
};
const providerOptions = {
  openai: { reasoningEffort: "medium", reasoningSummary: "auto", forceReasoning: true },
  anthropic: { thinking: { type: "enabled", budgetTokens: 2000 } },
  trigate: { reasoningEffort: "medium" },
};
const tools = {
  look_into: tool({ description: "Look into a box.", inputSchema: z.object({ box: z.string() }), execute: lookInto }),
};
let thoughts = 0;

async function turn(messages) {
  const asked = {
    model: models[VARIANT](), system: "Be brief.", messages, tools, stopWhen: stepCountIs(5), maxRetries: 0,
    providerOptions, maxOutputTokens: 4000,
  };
  if (!STREAM) {
    const done = await generateText(asked);
    thoughts += done.steps.filter((step) => step.reasoningText).length;
    messages.push(...done.response.messages);
    return done.text;
  }
  let failure;
  const done = streamText({ ...asked, onError: ({ error }) => (failure = error) });
  let text = "";
  for await (const part of done.fullStream) {
    if (part.type === "text-delta") text += part.text;
    if (part.type === "start-step") text = "";
  }
  if (failure) throw failure;
  thoughts += (await done.steps).filter((step) => step.reasoningText).length;
  messages.push(...(await done.response).messages);
  return text;
}

const messages = [{ role: "user", content: PLEASE }];
const first = await turn(messages);
messages.push({ role: "user", content: AGAIN });
report(first, await turn(messages), thoughts);
