// What the list and a room have in common.

export const byId = (id) => document.getElementById(id);

// A page of this machine's node is its owner's.
export const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

export const STATES = {
  live: "Live", waiting: "Reconnecting", ended: "Recorded", closed: "Recorded", created: "Not live yet",
};

export function setBadge(badge, state) {
  badge.className = `badge ${state}`;
  badge.textContent = STATES[state] ?? state;
}

export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const pieces = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = pieces[0] ? pieces : pieces.slice(1);
  return shown.map((piece, at) => (at ? String(piece).padStart(2, "0") : piece)).join(":");
}
