// Any request as a line of the command line, as Python, or as curl: what the studio does can be done without it.

import { button, h } from "./elements.js";
import { notice } from "./notices.js";
import { openDialog } from "./dialogs.js";
import { server } from "./state.js";

const shell = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;
const python = (text) => JSON.stringify(String(text)).replace(/[\u007f-\uffff]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);

const FACTOR = 2; // what the page upscales by

/** order: { task, prompt, negative, model, mode, aspect, seed, count, quality, plan }. */
export function asCommand(order) {
  if (order.task === "upscale") return `polarlight upscale picture.png --factor ${FACTOR}`;
  const edits = order.task !== "draw";
  const words = ["polarlight", edits ? "edit picture.png" : "imagine", shell(order.prompt), `--mode ${order.mode}`];
  if (!edits) words.push(`--aspect ${order.aspect}`);
  if (order.plan) words.push(`--plan ${shell(order.plan)}`);
  words.push(`--seed ${order.seed}`, `-n ${order.count}`);
  if (edits && order.masked) words.push("--mask mask.png");
  return words.join(" ");
}

export function asPython(order) {
  if (order.task === "upscale") return upscalePython(order);
  const edits = order.task !== "draw";
  const extra = [`"seed": ${order.seed}`];
  if (!edits) extra.push(`"aspect_ratio": ${python(order.aspect)}`);
  if (order.negative) extra.push(`"negative_prompt": ${python(order.negative)}`);
  if (order.plan) extra.push(`"plan": ${python(order.plan)}`);
  return [
    "import base64",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${python(`${server.address}/v1`)}, api_key="YOUR_KEY")`,
    `answer = client.images.${edits ? "edit" : "generate"}(`,
    `    model=${python(order.model)},`,
    ...(edits ? ['    image=open("picture.png", "rb"),'] : []),
    ...(edits && order.masked ? ['    mask=open("mask.png", "rb"),'] : []),
    `    prompt=${python(order.prompt)},`,
    `    quality=${python(order.quality)},`,
    `    n=${order.count},`,
    '    response_format="b64_json",',
    `    extra_body={${extra.join(", ")}},`,
    ")",
    "for number, picture in enumerate(answer.data, 1):",
    '    with open(f"picture-{number}.png", "wb") as file:',
    "        file.write(base64.b64decode(picture.b64_json))",
  ].join("\n");
}

/** The client of OpenAI knows no upscaling; httpx comes with it. */
function upscalePython(order) {
  return [
    "import base64",
    "import httpx",
    "",
    "answer = httpx.post(",
    `    ${python(`${server.address}/v1/images/upscale`)},`,
    '    headers={"Authorization": "Bearer YOUR_KEY"},',
    `    data={"model": ${python(order.model)}, "factor": ${FACTOR}, "response_format": "b64_json"},`,
    '    files={"image": open("picture.png", "rb")},',
    "    timeout=600,",
    ")",
    'with open("picture-large.png", "wb") as file:',
    '    file.write(base64.b64decode(answer.json()["data"][0]["b64_json"]))',
  ].join("\n");
}

export function asCurl(order) {
  if (order.task === "upscale") {
    const fields = [`model=${order.model}`, `factor=${FACTOR}`].map((field) => `-F ${shell(field)}`);
    return [`curl ${server.address}/v1/images/upscale`, `-H "Authorization: Bearer $POLARLIGHT_KEY"`, ...fields, "-F image=@picture.png"].join(" \\\n  ");
  }
  const edits = order.task !== "draw";
  const facts = { model: order.model, prompt: order.prompt, quality: order.quality, n: order.count, seed: order.seed };
  if (order.negative) facts.negative_prompt = order.negative;
  if (order.plan) facts.plan = order.plan;
  const head = [`curl ${server.address}/v1/images/${edits ? "edits" : "generations"}`, `-H "Authorization: Bearer $POLARLIGHT_KEY"`];
  if (edits) {
    const fields = Object.entries(facts).map(([name, value]) => `-F ${shell(`${name}=${value}`)}`);
    fields.push("-F image=@picture.png", ...(order.masked ? ["-F mask=@mask.png"] : []));
    return [...head, ...fields].join(" \\\n  ");
  }
  const body = shell(JSON.stringify({ ...facts, aspect_ratio: order.aspect }));
  return [...head, '-H "Content-Type: application/json"', `-d ${body}`].join(" \\\n  ");
}

/** Show all three, each with a button that copies it. */
export function showCopies(order) {
  const forms = { "Command line": asCommand(order), Python: asPython(order), curl: asCurl(order) };
  const blocks = Object.entries(forms).map(([name, text]) =>
    h("section", { class: "copy" },
      h("header", {}, h("h3", {}, name), button("copy", `Copy ${name}`, () => copy(text, name), { quiet: false })),
      h("pre", { tabindex: 0, "aria-label": name }, text)));
  const hint = order.negative ? h("p", { class: "hint" }, "The command line has no option for “Without…”; Python and curl have.") : null;
  openDialog("Copy as", [...blocks, hint], { class: "copies" });
}

async function copy(text, name) {
  try {
    await navigator.clipboard.writeText(text);
    notice(`Copied for ${name}.`);
  } catch {
    notice("The browser does not let this page copy. Select the text and copy it yourself.", { kind: "error" });
  }
}
