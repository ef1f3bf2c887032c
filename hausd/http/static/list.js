// The rooms of this node.
import { api } from "./api.js";
import { byId, clock, isHere, setBadge, stateOf } from "./showing.js";

const MOST = 200; // rooms in one answer
const cards = new Map();

function facts(room) {
  const found = [];
  if (room.state === "live") found.push(`${room.viewers ?? 0} watching`);
  if (room.state === "created" && room.event) found.push(`begins ${new Date(room.event.starts).toLocaleString()}`);
  else if (room.started) found.push(new Date(room.started).toLocaleDateString());
  if (room.state !== "live" && room.recording?.duration_s) found.push(clock(room.recording.duration_s));
  return found.join(" · ");
}

function card(room) {
  let item = cards.get(room.id);
  if (!item) {
    item = byId("card").content.firstElementChild.cloneNode(true);
    item.querySelector("a").href = `/?room=${encodeURIComponent(room.id)}`;
    const image = item.querySelector("img");
    image.addEventListener("error", () => { image.hidden = true; });
    image.addEventListener("load", () => { image.hidden = false; });
    cards.set(room.id, item);
  }
  item.querySelector("strong").textContent = room.title || "A room of another node";
  item.querySelector("a > .quiet").textContent = facts(room) || stateOf(room);
  item.querySelector(".ticketed").hidden = !room.gated;
  setBadge(item.querySelector(".badge"), room);
  // The pictures of a gated room are for who has a ticket.
  if (room.state !== "created" && (isHere || !room.gated)) {
    const minute = Math.floor(Date.now() / 30000);
    const source = `/archive/${encodeURIComponent(room.id)}/poster.jpg?at=${minute}`;
    const image = item.querySelector("img");
    if (image.getAttribute("src") !== source) image.src = source;
  }
  return item;
}

// The newest, and those on air, however old.
async function roomsToShow() {
  const newest = await api(`rooms?limit=${MOST}`);
  const all = newest.length < MOST;
  byId("more").hidden = all;
  if (all) return newest;
  const known = new Set(newest.map((room) => room.id));
  const onAir = await api(`rooms?limit=${MOST}&state=live&state=waiting`);
  return [...newest, ...onAir.filter((room) => !known.has(room.id))];
}

export async function showList() {
  const rooms = await roomsToShow();
  const order = ["live", "waiting", "ended", "closed", "created"];
  rooms.sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  const list = byId("rooms");
  const wanted = rooms.map(card);
  wanted.forEach((item, at) => {
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
  byId("empty").hidden = rooms.some((room) => room.state !== "created");
}
