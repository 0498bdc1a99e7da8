// The page /demo/orders: places an order, follows it in the chosen way, and counts what that takes.
import { longPoll, poll, problem, socket, stream } from "./follow.js";

const ways = { poll, longPoll, stream, socket };
const names = { poll: "Polling", longPoll: "Long polling", stream: "Server-Sent Events", socket: "WebSocket" };

const byId = (id) => document.getElementById(id);
const say = (text) => { byId("status").textContent = text; };

// row adds the row of a way to the table, and returns what has been counted and a function that shows it.
const row = (way) => {
  const count = { events: 0, requests: 0, bytes: 0, latencies: [] };
  const cells = byId("costs").insertRow();
  cells.dataset.way = way;
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = names[way];
  cells.append(head);
  const values = [0, 1, 2, 3].map(() => cells.insertCell());
  const show = () => {
    const sorted = count.latencies.toSorted((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)];
    values[0].textContent = count.events;
    values[1].textContent = count.requests;
    values[2].textContent = count.bytes;
    values[3].textContent = median === undefined ? "–" : `${median} ms`;
  };
  show();
  return { count, show };
};
const rows = Object.fromEntries(Object.keys(ways).map((way) => [way, row(way)]));

// call sends a request with the key, and returns the body of the response.
const call = async (key, method, path, body) => {
  const headers = { Authorization: `Bearer ${key}`, ...(body && { "Content-Type": "application/json", "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") }) };
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw await problem(response);
  return response.json();
};

// placeOrder orders one piece of the first product.
const placeOrder = async (key, token) => {
  const products = await call(key, "GET", "/v1/products?limit=1");
  if (!products.data.length) throw new Error("There are no products.");
  return call(key, "POST", "/v1/orders", {
    items: [{ product_id: products.data[0].id, quantity: 1 }], email: "demo@example.com", payment_token: token,
  });
};

// An order's last event is email.sent, unless it was cancelled.
const lastEvent = "email.sent", cancelled = "order.cancelled";
const afterCancel = 5000; // ms in which stock and payment are released

// follower returns what follow.js wants.
const follower = (key, order, way, controller) => {
  const { count, show } = rows[way];
  const opened = Date.now();
  return {
    order, key, signal: controller.signal,
    sent() { count.requests++; show(); },
    received(bytes) { count.bytes += bytes; show(); },
    show(events) {
      for (const event of events) {
        const at = Date.parse(event.at), latency = Date.now() - at;
        const item = document.createElement("li");
        const code = document.createElement("code");
        code.textContent = event.type;
        item.append(code, at < opened ? "" : ` after ${latency} ms`);
        byId("events").append(item);
        count.events++;
        if (at >= opened) count.latencies.push(latency);
        if (event.type === lastEvent) controller.abort("The order is done.");
        if (event.type === cancelled) setTimeout(() => controller.abort("The order is cancelled."), afterCancel);
      }
      show();
    },
  };
};

let current = new AbortController(); // of the order that is followed

const start = async () => {
  current.abort("");
  const controller = new AbortController();
  current = controller;
  const key = byId("key").value.trim(), way = new FormData(byId("order")).get("way");
  byId("events").replaceChildren();
  byId("stop").disabled = false;
  say("Placing the order.");
  let message;
  try {
    const order = await placeOrder(key, byId("token").value);
    if (!controller.signal.aborted) {
      say(`Following order ${order.id} by ${names[way]}.`);
      await ways[way](follower(key, order.id, way, controller));
    }
    message = controller.signal.reason;
  } catch (error) {
    message = error.message;
  }
  if (current === controller) {
    say(message);
    byId("stop").disabled = true;
  }
};

byId("order").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
byId("stop").addEventListener("click", () => current.abort("Stopped."));
