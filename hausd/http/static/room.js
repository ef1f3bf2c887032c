// One room: its player, what is known of it, and the way in.
import { api, ask, faultOf } from "./api.js";
import { copyRow } from "./copying.js";
import { Entry } from "./entry.js";
import { Player } from "./player.js";
import { byId, clock, isRecorded, setBadge } from "./showing.js";

const LOOK_SOON_MS = 1000; // while viewers wait for a picture
const query = new URLSearchParams(location.search);

function facts(room) {
  const found = [];
  if (room.state === "live") found.push(`${room.viewers ?? 0} watching`);
  if (room.state === "live" && room.started) {
    found.push(`on air for ${clock((Date.now() - new Date(room.started)) / 1000)}`);
  } else if (room.started) {
    found.push(`began ${new Date(room.started).toLocaleString()}`);
  } else if (room.event) {
    found.push(`begins ${new Date(room.event.starts).toLocaleString()}`);
  }
  if (room.recording?.duration_s) found.push(`${clock(room.recording.duration_s)} recorded`);
  if (room.free) found.push(whatIsFree(room));
  return found.filter(Boolean).join(" · ");
}

// Of a gated room, what takes no ticket, now or later.
function whatIsFree({ state, free }) {
  if (free.all) return "free for everybody";
  if (free.rendition && free.now.length) return `free: ${free.now.join(", ")}`;
  if (state === "created" && free.first_s) return `the first ${clock(free.first_s)} are free`;
  return free.finalized ? "the recording is free once the event is settled" : "";
}

function row(title, text) {
  const term = document.createElement("dt");
  term.textContent = title;
  const place = document.createElement("dd");
  place.dataset.what = title;
  const code = document.createElement("code");
  code.textContent = text;
  place.append(code);
  copyRow(place);
  return [term, place];
}

function showLinks(room, signed) {
  const live = `${location.origin}/live/${room.id}/index.m3u8`;
  const page = `${location.origin}/?room=${room.id}`;
  const rows = row("This page", page);
  if (room.gated && signed) {
    rows.push(
      ...row("mpv, VLC and others: a URL of your own, for as long as you watch. Keep it to yourself", signed.live_url),
      ...row("From the start, likewise", signed.archive_url),
    );
  } else if (room.gated) {
    rows.push(
      ...row("mpv, VLC and others: signs in with a wallet’s key file, and gives a URL", `hausctl tickets sign-in "${page}" --keypair wallet.json`),
      ...row("On the node itself", `hausctl rooms watch ${room.id}`),
    );
  } else {
    rows.push(
      ...row("Any HLS player (VLC: Media → Open Network Stream)", live),
      ...row("mpv", `mpv ${live}`),
      ...row("From the start", `${location.origin}/archive/${room.id}/index.m3u8`),
    );
  }
  if (room.ingest_url) rows.push(...row("Publish: server URL for OBS", room.ingest_url));
  rows.push(...row("Publish: the stream key, on the node itself", `hausctl rooms show ${room.id}`));
  byId("links").replaceChildren(...rows);
}

// -- a room that is not here yet --

async function isElsewhere(url) {
  try {
    await api(url);
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

// Why this node is not in the room yet, or won't be.
const LOST = ["unknown-room", "nobody-has-it", "too-many-rooms"];
const LOOKING = "still-looking";

let lost = false; // and said so: then it goes on being looked for without a word

// The room as this node has it; null while it is looked for. One of another node's is joined by
// asking for its playlist.
async function roomHere(asked, url) {
  try {
    return await api(url);
  } catch (fault) {
    if (fault.status !== 404) throw fault;
  }
  byId("join").hidden = lost;
  byId("join-ask").hidden = true;
  byId("join-wait").hidden = false;
  const token = query.get("token");
  const more = token ? `?token=${encodeURIComponent(token)}` : "";
  try {
    const answer = await ask(`/live/${encodeURIComponent(asked)}/index.m3u8${more}`);
    const fault = answer.ok ? null : await faultOf(answer);
    if (fault?.code === LOOKING) {
      lost = false;
      byId("join").hidden = false;
      return null;
    }
    lost = LOST.includes(fault?.code);
    if (lost) throw fault;
    return await api(url);
  } catch (fault) {
    byId("join").hidden = true;
    throw fault;
  }
}

// -- the room --

function entryOf(asked, hooks) {
  const parts = Object.fromEntries(
    [...document.querySelectorAll("[data-entry]")].map((each) => [each.dataset.entry, each]),
  );
  return new Entry(parts, asked, hooks);
}

export async function openRoom(asked, every) {
  const url = `rooms/${encodeURIComponent(asked)}`;
  const stage = byId("room");
  let mode = null;
  let linked = "";
  let shown = false;
  let onAir = false;

  const entry = entryOf(asked, {
    changed: async () => {
      const before = entry.refusal;
      await retry();
      // A preview was playing: now there may be more of it, or less.
      if (entry.shape.free && !before && !entry.refusal && mode !== null) player.watch(mode);
      // What was pressed last is not there any more: the keyboard goes on where it matters.
      (entry.refusal ? byId("entry-title") : byId("video")).focus({ preventScroll: !entry.refusal });
    },
    shut: () => {
      stage.classList.add("shut");
      player.stop();
    },
  });
  const player = new Player({
    video: byId("video"), curtain: byId("curtain"), latency: byId("latency"), edge: byId("edge"),
    quality: byId("quality"), unmute: byId("unmute"), captions: byId("captions"),
    theatre: byId("theatre"),
  }, asked, entry);

  // Whether the room can be watched may have changed. One after the other: each begins to play.
  let turn = Promise.resolve();
  function retry() {
    turn = turn.catch(() => {}).then(look);
    return turn;
  }

  async function look() {
    const before = entry.refusal;
    if (!await entry.admits(player.url) || !before) return;
    stage.classList.remove("shut");
    if (mode !== null) player.watch(mode);
  }

  const choose = (wanted) => {
    mode = wanted;
    byId("watch-live").setAttribute("aria-pressed", String(wanted === "live"));
    byId("watch-start").setAttribute("aria-pressed", String(wanted === "start"));
    if (!entry.refusal) player.watch(wanted);
    else player.mode = wanted;
  };
  byId("watch-live").addEventListener("click", () => choose("live"));
  byId("watch-start").addEventListener("click", () => choose("start"));
  // Who is kept out of what is on air sees soon that they may watch: a preview begins, say. Only
  // the playlist is asked for so often, which costs the node next to nothing.
  setInterval(() => {
    if (onAir && entry.refusal && !document.hidden) retry().catch(() => {});
  }, LOOK_SOON_MS);
  player.onKeys(document);
  document.querySelectorAll("dd[data-what]").forEach(copyRow);

  if (query.has("ask") && await isElsewhere(url)) await agreed();
  await every(async () => {
    const room = await roomHere(asked, url);
    if (!room) return LOOK_SOON_MS;
    byId("join").hidden = true;
    await entry.roomIs(room);
    onAir = room.state === "live" || room.state === "waiting";
    const recorded = isRecorded(room);
    if (mode === null && !onAir && recorded) player.mode = "start";
    // Who may not watch hears that before the show begins, and sees at once when they may.
    if (!shown || entry.refusal) await retry();
    stage.hidden = false;
    const title = room.title || "A room of another node";
    document.title = `${title} · hausd`;
    byId("title").textContent = title;
    byId("facts").textContent = facts(room);
    setBadge(byId("badge"), room);
    byId("watch-live").disabled = !onAir;
    byId("watch-start").disabled = !recorded;
    const links = `${room.id} ${room.ingest_url} ${room.gated} ${entry.signed?.token}`;
    if (links !== linked) {
      linked = links;
      showLinks(room, entry.signed);
    }
    if (room.state === "created" && !shown && !room.gated) {
      byId("urls").open = true; // who looks at a room before it begins is likely its artist
    }
    shown = true;
    if (mode === null && onAir) choose("live");
    else if (mode === null && recorded) choose("start");
    player.roomIs(room.state, { recorded });
    const awaited = room.state === "created" || room.state === "waiting" || entry.soon;
    return awaited ? LOOK_SOON_MS : undefined;
  });
}
