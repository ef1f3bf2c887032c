// What the list and a room have in common.

export const byId = (id) => document.getElementById(id);

// A page of this machine's node is its owner's.
export const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

// Whether there is a recording: here, or at others as far as is known.
export function isRecorded({ recording: has }) {
  return Boolean(has && (has.segments > 0 || has.missing > 0 || has.sought));
}

const STATES = { live: "Live", waiting: "Reconnecting", created: "Not live yet" };

export const stateOf = (room) => STATES[room.state] ?? (isRecorded(room) ? "Recorded" : "Ended");

export function setBadge(badge, room) {
  badge.className = `badge ${room.state}`;
  badge.textContent = stateOf(room);
}

// A region that is read aloud is touched only where its words change.
export function say(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const pieces = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = pieces[0] ? pieces : pieces.slice(1);
  return shown.map((piece, at) => (at ? String(piece).padStart(2, "0") : piece)).join(":");
}
