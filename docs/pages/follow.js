// Four ways to follow the events of an order. All of them read the same events in the same order, and continue after the last
// one that they got.
//
// Each way is called with an object:
//   order    the id of the order
//   key      the API key
//   signal   an AbortSignal that ends the way
//   sent()   is called for each request
//   received(bytes)  is called for what arrives, without headers
//   show(events)     is called with new events
// It returns when the signal is aborted, and throws an Error with the server's reason if it can't go on.

const pollInterval = 1000; // ms
const maxPause = 5000; // ms, before a new connection

// pause waits for some time or until the signal is aborted.
const pause = (ms, signal) =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });

// problem returns the Error of a response with problem details.
export const problem = async (response) => {
  const { title, detail } = await response.json().catch(() => ({ title: response.statusText }));
  return new Error(`${response.status}: ${detail || title}`);
};

// request sends a request. While the server refuses it for a time, it waits and tries again. Lost connections give undefined.
const request = async (follow, path, options = {}) => {
  for (;;) {
    follow.sent();
    let response;
    try {
      response = await fetch(path, {
        ...options, signal: follow.signal, headers: { Authorization: `Bearer ${follow.key}`, ...options.headers },
      });
    } catch {
      await pause(maxPause * Math.random(), follow.signal);
      return undefined;
    }
    const seconds = response.headers.get("Retry-After");
    if ((response.status === 429 || response.status === 503) && seconds !== null) {
      await pause(1000 * seconds, follow.signal);
      if (follow.signal.aborted) return undefined;
      continue;
    }
    if (!response.ok) throw await problem(response);
    return response;
  }
};

const eventsOf = (follow) => `/v1/orders/${encodeURIComponent(follow.order)}/events`;

// pages requests pages of events, and calls between after each one.
const pages = async (follow, query, between) => {
  let after = "";
  while (!follow.signal.aborted) {
    const response = await request(follow, `${eventsOf(follow)}?limit=100&after=${after}${query}`);
    if (!response) continue;
    const body = await response.arrayBuffer().catch(() => undefined);
    if (!body) continue;
    follow.received(body.byteLength);
    const page = JSON.parse(new TextDecoder().decode(body));
    after = page.next_cursor;
    follow.show(page.data);
    await between();
  }
};

// poll asks for new events every second.
export const poll = (follow) => pages(follow, "", () => pause(pollInterval, follow.signal));

// longPoll asks for new events and waits for the response.
export const longPoll = (follow) => pages(follow, "&wait=30s", () => {});

// stream reads Server-Sent Events with fetch, which can send a header, unlike EventSource.
export const stream = async (follow) => {
  let last = "", retry = maxPause;
  const take = (message) => {
    const field = {};
    for (const line of message.split("\n")) {
      const colon = line.indexOf(":");
      field[line.slice(0, colon)] = line.slice(colon + 1).trimStart(); // a comment has the name ""
    }
    retry = Number(field.retry || retry);
    if (field.data) {
      last = field.id;
      follow.show([JSON.parse(field.data)]);
    }
  };
  while (!follow.signal.aborted) {
    const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
    const response = await request(follow, eventsOf(follow), { headers });
    if (!response) continue;
    const reader = response.body.getReader(), decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read().catch(() => ({ done: true }));
      if (done) break;
      follow.received(value.byteLength);
      const messages = (text + decoder.decode(value, { stream: true })).split("\n\n");
      text = messages.pop();
      messages.forEach(take);
    }
    if (!follow.signal.aborted) await pause(retry, follow.signal);
  }
};

// socket opens a WebSocket with a ticket, because a browser can't send the key with it.
export const socket = async (follow) => {
  let after = "";
  const open = (ticket) =>
    new Promise((resolve, reject) => {
      const ws = new WebSocket(`${eventsOf(follow)}/ws?after=${after}&ticket=${ticket}`);
      const close = () => ws.close();
      follow.signal.addEventListener("abort", close, { once: true });
      ws.onmessage = ({ data }) => {
        follow.received(new Blob([data]).size);
        const event = JSON.parse(data);
        after = event.cursor;
        follow.show([event]);
      };
      ws.onclose = ({ code, reason }) => {
        follow.signal.removeEventListener("abort", close);
        if (code === 1008) reject(new Error(`The stream was ended: ${reason}`));
        else resolve();
      };
    });
  while (!follow.signal.aborted) {
    const response = await request(follow, "/v1/tickets", { method: "POST" });
    if (!response) continue;
    const { ticket } = await response.json();
    if (follow.signal.aborted) return;
    follow.sent();
    await open(ticket);
    if (!follow.signal.aborted) await pause(maxPause * Math.random(), follow.signal);
  }
};
