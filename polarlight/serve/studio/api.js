// Talking to the server: JSON over HTTP for what is kept, one WebSocket for what is being made.

/** What went wrong, as one sentence for whoever reads it. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let csrf = "";

/** The token that every write shows. */
export function useToken(token) {
  csrf = token;
}

async function call(method, path, body, type) {
  const headers = { "x-polarlight-csrf": csrf };
  if (body !== undefined) headers["content-type"] = type ?? "application/json";
  let answer;
  try {
    const keepalive = method === "PUT"; // the page's state is saved while it is being left, too
    answer = await fetch(path, { method, headers, body, keepalive, credentials: "same-origin" });
  } catch {
    throw new Refusal("The server does not answer. Check that it runs; the page goes on when it is back.", 0);
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const sentence = typeof said.error === "string" ? said.error : said.error?.message;
  throw new Refusal(sentence ?? `The server answered with status ${answer.status}. Try again.`, answer.status);
}

const json = async (answer) => (await answer).json();

export const get = (path) => json(call("GET", path));
export const post = (path, value = {}) => json(call("POST", path, JSON.stringify(value)));
export const put = (path, value) => json(call("PUT", path, JSON.stringify(value)));
export const patch = (path, value) => json(call("PATCH", path, JSON.stringify(value)));
export const remove = (path) => json(call("DELETE", path));
export const postForFile = async (path, value) => (await call("POST", path, JSON.stringify(value))).blob();

/** Send a file as it is. */
export function upload(path, file) {
  const named = `${path}?name=${encodeURIComponent(file.name || "picture.png")}`;
  return json(call("POST", named, file, "application/octet-stream"));
}

/** Where a tile's picture is; `side` bounds it for the grid. */
export function address(tile, side) {
  return `/studio/api/tiles/${tile.id}/content${side ? `?side=${side}` : ""}`;
}

/** The WebSocket on which pictures are made. It comes back by itself; what was under way on it has ended then. */
export class MakingSocket {
  constructor(onRefused) {
    this.onRefused = onRefused;
    this.listeners = new Map();
    this.waiting = [];
    this.delay = 250;
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/studio/api/making`);
    this.socket.onopen = () => {
      this.delay = 250;
      this.socket.send(JSON.stringify({ type: "hello", csrf }));
      for (const message of this.waiting.splice(0)) this.socket.send(message);
    };
    this.socket.onmessage = (event) => this.hear(JSON.parse(event.data));
    this.socket.onclose = () => {
      this.waiting = []; // whoever waits hears that it was lost
      for (const [request, listener] of [...this.listeners]) {
        this.listeners.delete(request);
        listener({ type: "ended", request, reason: "lost" });
      }
      setTimeout(() => this.open(), this.delay);
      this.delay = Math.min(this.delay * 2, 8000);
    };
  }

  hear(message) {
    if (message.type === "refused") {
      this.onRefused(message.message);
      return;
    }
    const listener = this.listeners.get(message.request);
    if (message.type === "ended") this.listeners.delete(message.request);
    listener?.(message);
  }

  /** Begin a request; `listener` hears everything about it, `ended` last. */
  start(order, listener) {
    const request = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    this.listeners.set(request, listener);
    this.send({ type: "start", request, ...order });
    return request;
  }

  /** What is said of a request before the connection is there waits in its order; of a lost one nothing is said. */
  send(message) {
    const text = JSON.stringify(message);
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(text);
    else if (this.listeners.has(message.request)) this.waiting.push(text);
  }
}
