// The unmodified @ai-sdk/xai, called as its users call it. Each line of stdin is a call: {address, key, task, model, call, extra}
// in JSON. Each line of stdout is JSON too: {exchange} for every request that the client has had answered, then one
// {made} or {error}.

import { createInterface } from "node:readline";
import { createXai } from "@ai-sdk/xai";
import { experimental_generateVideo, generateImage } from "ai";

globalThis.AI_SDK_LOG_WARNINGS = false; // they are in the result

const say = (fact) => console.log(JSON.stringify(fact));
const file = ({ base64, mediaType }) => ({ base64, mediaType });

const tasks = {
  async images(xai, model, call) {
    const made = await generateImage({ model: xai.image(model), ...call });
    return { ...made, images: made.images.map(file) };
  },
  // one floor below generateImage, which leaves the cost out of what it hands on
  async imageModel(xai, model, call) {
    return await xai.image(model).doGenerate({ n: 1, providerOptions: {}, ...call });
  },
  async videos(xai, model, call) {
    const made = await experimental_generateVideo({ model: xai.video(model), download, ...call });
    return { ...made, video: undefined, videos: made.videos.map(file) };
  },
};

// the client's own download refuses every address of a private network, so it is given this one
async function download({ url }) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return { data: new Uint8Array(await answer.arrayBuffer()), mediaType: answer.headers.get("content-type") };
}

// the client's own place for middleware: it tells of each exchange and adds the fields that the client has no option for
function watched(extra) {
  return async (url, init) => {
    const body = init.body && extra ? JSON.stringify({ ...JSON.parse(init.body), ...extra }) : init.body;
    const answer = await fetch(url, { ...init, body });
    say({ exchange: `${init.method} ${new URL(url).pathname} ${answer.status}` });
    return answer;
  };
}

async function made({ address, key, task, model, call, extra }) {
  const xai = createXai({ baseURL: `${address}/v1`, apiKey: key, fetch: watched(extra) });
  return await tasks[task](xai, model, { abortSignal: AbortSignal.timeout(120_000), ...call });
}

function told({ name, message, statusCode, isRetryable, responseBody }) {
  return { name, message, statusCode, isRetryable, responseBody };
}

for await (const line of createInterface({ input: process.stdin })) {
  say(await made(JSON.parse(line)).then((made) => ({ made }), (error) => ({ error: told(error) })));
}
