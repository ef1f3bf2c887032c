// The page at /: a list of rooms, or one room (/?room=ID). Reads /api/v1 and what it plays.
import { api, wordsOf } from "./api.js";
import { showList } from "./list.js";
import { openRoom } from "./room.js";
import { byId, say } from "./showing.js";

const LOOK_AGAIN_MS = 4000;

function showFault(fault) {
  const place = byId("fault");
  place.hidden = !fault;
  if (fault) say(place, fault.status === 0 ? "The node does not answer. Trying again…" : wordsOf(fault));
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
    showNode().catch(() => {}); // if it does not answer, the action says so
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

// A room is looked at more often than this is worth asking for.
let toldAt = -Infinity;
async function showNode() {
  if (performance.now() - toldAt < LOOK_AGAIN_MS) return;
  toldAt = performance.now();
  const status = await api("status");
  byId("node").textContent = `${status.rooms_live} live · ${status.viewers} watching · hausd ${status.version}`;
}

const asked = new URLSearchParams(location.search).get("room");
if (asked) {
  openRoom(asked, every).catch(showFault);
} else {
  byId("list").hidden = false;
  every(showList);
}
showNode().catch(() => {});
