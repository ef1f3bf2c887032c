// The page at /: a list of rooms, or one room (/?room=ID). Reads /api/v1 and nothing else.
import { Player } from "./player.js";

const LOOK_AGAIN_MS = 4000;
const LOOK_SOON_MS = 1000; // while viewers wait for a picture
const byId = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const asked = query.get("room");
const token = query.get("token");

const STATES = {
  live: "Live", waiting: "Reconnecting", ended: "Recorded", closed: "Recorded", created: "Not live yet",
};

async function api(path) {
  const answer = await fetch(`/api/v1/${path}`, { cache: "no-store" });
  if (answer.ok) return answer.json();
  let words = `The node answered ${answer.status}.`;
  try {
    const { error } = await answer.json();
    words = [error.message, error.hint].filter(Boolean).join(" ");
  } catch { /* not our error shape: the status has to do */ }
  const fault = new Error(words);
  fault.status = answer.status;
  throw fault;
}

function showFault(fault) {
  const place = byId("fault");
  place.hidden = !fault;
  if (fault) place.textContent = fault.status ? fault.message : "The node does not answer. Trying again…";
}

// Does the action again and again; it may say after how many milliseconds.
function every(action) {
  let busy = false;
  let timer = 0;
  const run = async () => {
    if (busy || document.hidden) return;
    busy = true;
    clearTimeout(timer);
    let wait = LOOK_AGAIN_MS;
    try {
      wait = (await action()) ?? LOOK_AGAIN_MS;
      showFault(null);
    } catch (fault) {
      showFault(fault);
    }
    busy = false;
    timer = setTimeout(run, wait);
  };
  document.addEventListener("visibilitychange", run);
  return run();
}

function setBadge(badge, state) {
  badge.className = `badge ${state}`;
  badge.textContent = STATES[state] ?? state;
}

const clock = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  const pieces = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = pieces[0] ? pieces : pieces.slice(1);
  return shown.map((piece, at) => (at ? String(piece).padStart(2, "0") : piece)).join(":");
};

function facts(room) {
  const found = [];
  if (room.state === "live") found.push(`${room.viewers ?? 0} watching`);
  if (room.started) found.push(`began ${new Date(room.started).toLocaleString()}`);
  if (room.recording?.duration_s) found.push(`${clock(room.recording.duration_s)} recorded`);
  return found.join(" · ");
}

// -- the list

const cards = new Map();

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
  item.querySelector("strong").textContent = room.title;
  item.querySelector("a > .quiet").textContent = facts(room) || STATES[room.state];
  setBadge(item.querySelector(".badge"), room.state);
  if (room.state !== "created") {
    const minute = Math.floor(Date.now() / 30000);
    const source = `/archive/${encodeURIComponent(room.id)}/poster.jpg?at=${minute}`;
    const image = item.querySelector("img");
    if (image.getAttribute("src") !== source) image.src = source;
  }
  return item;
}

async function showList() {
  const rooms = await api("rooms?limit=200");
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

async function showNode() {
  const status = await api("status");
  byId("node").textContent = `${status.rooms_live} live · ${status.viewers} watching · hausd ${status.version}`;
}

// -- one room

function link(title, text) {
  const term = document.createElement("dt");
  term.textContent = title;
  const place = document.createElement("dd");
  const code = document.createElement("code");
  code.textContent = text;
  code.tabIndex = 0;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.textContent = "Copy";
  copy.setAttribute("aria-label", `Copy: ${title}`);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch { // without HTTPS there is no clipboard: the text is selected instead
      getSelection().selectAllChildren(code);
      copy.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 1600);
  });
  place.append(code, copy);
  return [term, place];
}

function showLinks(room) {
  const live = `${location.origin}/live/${room.id}/index.m3u8`;
  const rows = [
    ...link("This page", `${location.origin}/?room=${room.id}`),
    ...link("Any HLS player (VLC: Media → Open Network Stream)", live),
    ...link("mpv", `mpv ${live}`),
    ...link("From the start", `${location.origin}/archive/${room.id}/index.m3u8`),
  ];
  if (room.ingest_url) rows.push(...link("Publish: server URL for OBS", room.ingest_url));
  rows.push(...link("Publish: the stream key, on the node itself", `hausctl rooms show ${room.id}`));
  byId("links").replaceChildren(...rows);
}

const roomUrl = () => `rooms/${encodeURIComponent(asked)}`;

async function isElsewhere() {
  try {
    await api(roomUrl());
    return false;
  } catch (fault) {
    return fault.status === 404;
  }
}

// Another site led here: the node joins a room only if its user wants that.
function agreed() {
  byId("join").hidden = false;
  return new Promise((resolve) => {
    byId("join-yes").addEventListener("click", resolve, { once: true });
  });
}

// The room as this node has it. One of another node's is joined by asking for its playlist.
async function roomHere() {
  try {
    return await api(roomUrl());
  } catch (fault) {
    if (fault.status !== 404) throw fault;
  }
  byId("join").hidden = false;
  byId("join-ask").hidden = true;
  byId("join-wait").hidden = false;
  const more = token ? `?token=${encodeURIComponent(token)}` : "";
  const answer = await fetch(`/live/${encodeURIComponent(asked)}/index.m3u8${more}`, { cache: "no-store" });
  if (answer.status === 404) {
    const { error } = await answer.json();
    if (error.code !== "not-live") {
      byId("join-wait").hidden = true;
      const fault = new Error([error.message, error.hint].filter(Boolean).join(" "));
      fault.status = 404;
      throw fault;
    }
  }
  return api(roomUrl());
}

async function openRoom() {
  const player = new Player({
    video: byId("video"), curtain: byId("curtain"), latency: byId("latency"), edge: byId("edge"),
    quality: byId("quality"), unmute: byId("unmute"),
  }, asked);
  let mode = null;
  let linked = "";
  let opened = false;

  const choose = (wanted) => {
    mode = wanted;
    byId("watch-live").setAttribute("aria-pressed", String(wanted === "live"));
    byId("watch-start").setAttribute("aria-pressed", String(wanted === "start"));
    player.watch(wanted);
  };
  byId("watch-live").addEventListener("click", () => choose("live"));
  byId("watch-start").addEventListener("click", () => choose("start"));
  player.onKeys(document);

  if (query.has("ask") && await isElsewhere()) await agreed();
  await every(async () => {
    const room = await roomHere();
    byId("join").hidden = true;
    byId("room").hidden = false;
    document.title = `${room.title} · hausd`;
    byId("title").textContent = room.title || "A room of another node";
    byId("facts").textContent = facts(room);
    setBadge(byId("badge"), room.state);
    const onAir = room.state === "live" || room.state === "waiting";
    const recorded = (room.recording?.segments ?? 0) > 0;
    byId("watch-live").disabled = !onAir;
    byId("watch-start").disabled = !recorded;
    const shown = `${room.id} ${room.ingest_url}`;
    if (shown !== linked) {
      linked = shown;
      showLinks(room);
    }
    if (room.state === "created" && !opened) {
      opened = true;
      byId("urls").open = true; // who looks at a room before it begins is likely its artist
    }
    if (mode === null && onAir) choose("live");
    else if (mode === null && recorded) choose("start");
    player.roomIs(room.state, { recorded });
    const awaited = room.state === "created" || room.state === "waiting";
    return awaited ? LOOK_SOON_MS : LOOK_AGAIN_MS;
  });
}

if (asked) {
  openRoom();
} else {
  byId("list").hidden = false;
  every(showList);
}
showNode().catch(() => {});
