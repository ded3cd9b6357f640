// The programs' settings, the boxes as a tool, and the report of both answers.
export const ROOT = process.env.GATEWAY;
export const BASE = `${ROOT}/v1`;
export const KEY = "any";
export const { MODEL, PLEASE, AGAIN } = process.env;
export const [VARIANT, MODE] = process.argv.slice(2);
export const STREAM = MODE === "stream";
export const SCHEMA = {
  type: "object",
  properties: { box: { type: "string", description: "which one" } },
  required: ["box"],
  additionalProperties: false,
};

const words = JSON.parse(process.env.WORDS);
export const lookInto = ({ box }) => `There is ${words[box]} in it.`;

export function report(first, second, thoughts = 0) {
  console.log(JSON.stringify({ first, second, thoughts }));
}

for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error) => {
    console.error(`${error?.name}: ${error?.message} ${error?.responseBody ?? ""}`);
    process.exit(1);
  });
}
