// What the browser's own controls of a video lack: a volume that is kept, captions at one press, a
// wider picture.

const kept = {
  get(name) {
    try {
      return localStorage.getItem(`hausd-${name}`);
    } catch { // storage is switched off
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`hausd-${name}`, value);
    } catch { /* then it is not kept */ }
  },
};

// The volume is that of the last time. What the browser forces (no sound before a click) is not kept.
export function keepVolume(video) {
  let forced = false;
  const volume = Number(kept.get("volume") ?? 1);
  if (volume >= 0 && volume <= 1) video.volume = volume;
  video.muted = kept.get("muted") === "1";
  video.addEventListener("volumechange", () => {
    if (!video.muted) forced = false;
    kept.set("volume", video.volume);
    if (!forced) kept.set("muted", video.muted ? "1" : "0");
  });
  return {
    muteForNow() {
      forced = true;
      video.muted = true;
    },
  };
}

// The button is there once the stream has captions.
export function captionsOf(video, button) {
  const wanted = () => kept.get("captions") === "1";
  const tracks = () => [...video.textTracks].filter((each) => ["captions", "subtitles"].includes(each.kind));
  const show = () => {
    const listed = tracks();
    listed.forEach((each, at) => { each.mode = wanted() && at === 0 ? "showing" : "hidden"; });
    button.hidden = listed.length === 0;
    button.setAttribute("aria-pressed", String(wanted()));
  };
  const toggle = () => {
    if (button.hidden) return;
    kept.set("captions", wanted() ? "0" : "1");
    show();
  };
  video.textTracks.addEventListener("addtrack", show);
  button.addEventListener("click", toggle);
  return { toggle };
}

export function theatreOf(button) {
  const show = (on) => {
    document.body.classList.toggle("theatre", on);
    button.setAttribute("aria-pressed", String(on));
  };
  const toggle = () => {
    const on = !document.body.classList.contains("theatre");
    kept.set("theatre", on ? "1" : "0");
    show(on);
  };
  show(kept.get("theatre") === "1");
  button.addEventListener("click", toggle);
  return { toggle };
}
