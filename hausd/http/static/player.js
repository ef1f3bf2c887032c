// Plays a room in a <video>: hls.js where the browser has Media Source Extensions, else the
// browser's own HLS (Safari on iPhones).
import { Fault, faultIn, wordsOf } from "./api.js";
import { captionsOf, keepVolume, theatreOf } from "./controls.js";
import { sentence } from "./refusals.js";
import { say } from "./showing.js";

const SCRIPT = "/static/hls.min.js";
const RETRY_MS = [500, 1000, 2000, 4000];

let loading = null;
function loadHls() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = SCRIPT;
    script.onload = () => resolve(window.Hls);
    script.onerror = () => {
      loading = null;
      script.remove();
      reject(new Fault(0, { message: "The player could not be loaded." }));
    };
    document.head.append(script);
  });
  return loading;
}

// What a node answered that hls.js could not play; null where it answered nothing.
function refusalIn({ networkDetails: asked }) {
  if (!(asked instanceof XMLHttpRequest) || asked.status < 400) return null;
  const text = asked.responseType === "arraybuffer"
    ? new TextDecoder().decode(asked.response ?? new ArrayBuffer(0)) : asked.responseText;
  return faultIn(asked.status, text);
}

export class Player {
  // `entry` says whether a playlist may be had, and is told what was refused.
  constructor(parts, room, entry) {
    this.parts = parts;
    this.entry = entry;
    this.room = encodeURIComponent(room);
    this.mode = null;
    this.hls = null;
    this.state = "";
    this.recorded = false;
    this.faults = 0;
    this.timer = 0;
    this.generation = 0;
    const { video, quality, unmute, edge } = parts;
    quality.addEventListener("change", () => {
      if (this.hls) this.hls.nextLevel = Number(quality.value);
    });
    unmute.addEventListener("click", () => {
      video.muted = false;
      unmute.hidden = true;
    });
    video.addEventListener("volumechange", () => { if (!video.muted) unmute.hidden = true; });
    video.addEventListener("playing", () => { this.faults = 0; this.say(""); });
    video.addEventListener("ended", () => this.say("This stream has ended."));
    edge.addEventListener("click", () => this.toEdge());
    setInterval(() => this.showLatency(), 500);
    this.volume = keepVolume(video);
    this.captions = captionsOf(video, parts.captions);
    this.theatre = theatreOf(parts.theatre);
  }

  get url() {
    return this.mode === "start"
      ? `/archive/${this.room}/index.m3u8`
      : `/live/${this.room}/index.m3u8`;
  }

  // "live" or "start"
  watch(mode) {
    this.mode = mode;
    this.faults = 0;
    this.begin();
  }

  // What the API says of the room; begins again when an encoder came (back).
  roomIs(state, { recorded }) {
    const before = this.state;
    this.state = state;
    this.recorded = recorded;
    if (state === "created") this.say("Waiting for the stream to begin…");
    else if (state === "waiting" && this.stalled()) this.say("The encoder dropped out. It may return in a moment…");
    else if (this.mode === null && !recorded) this.say("This stream has ended. Nothing was recorded.");
    const finished = this.parts.video.ended || this.faults >= RETRY_MS.length;
    if (state === "live" && this.mode === "live" && before && before !== "live" && finished) {
      this.watch("live");
    }
  }

  stalled() {
    const { video } = this.parts;
    return this.mode === "live" && (video.readyState < 3 || video.ended);
  }

  say(words) {
    const { curtain } = this.parts;
    curtain.hidden = !words;
    say(curtain, words);
  }

  stop() {
    clearTimeout(this.timer);
    this.generation += 1;
    if (this.hls) this.hls.destroy();
    else if (this.parts.video.src) {
      this.parts.video.removeAttribute("src");
      this.parts.video.load();
    }
    this.hls = null;
  }

  async begin() {
    this.stop();
    const mine = this.generation;
    const { video } = this.parts;
    this.say("Loading…");
    this.resetQualities();
    let Hls;
    try {
      if (!await this.entry.admits(this.url)) return;
      Hls = await loadHls();
    } catch (fault) {
      if (mine !== this.generation) return;
      if (fault instanceof Fault) this.again(fault);
      else this.say(wordsOf(fault));
      return;
    }
    if (mine !== this.generation) return;
    if (Hls.isSupported()) this.withHls(Hls);
    else if (video.canPlayType("application/vnd.apple.mpegurl")) this.natively();
    else this.say("This browser can't play HLS. The addresses below work in mpv and VLC.");
  }

  withHls(Hls) {
    const { video } = this.parts;
    const hls = new Hls({
      lowLatencyMode: true,
      backBufferLength: 60,
      startPosition: this.mode === "start" ? 0 : -1,
      // Catches up by playing a little faster rather than by jumping.
      maxLiveSyncPlaybackRate: this.mode === "live" ? 1.15 : 1,
    });
    this.hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, () => {
      this.showQualities();
      this.play();
    });
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.showQualities());
    hls.on(Hls.Events.ERROR, (_, fault) => {
      if (!fault.fatal) return;
      // Of what is live the playlist says whether it may be had; of a recording, each segment does.
      const segment = this.mode === "start" && fault.frag && !fault.details.startsWith("level");
      const place = segment ? fault.networkDetails?.responseURL : "";
      const refusal = refusalIn(fault);
      if (this.entry.refuse(refusal, place)) return;
      if (fault.type === Hls.ErrorTypes.MEDIA_ERROR && this.faults < 2) {
        this.faults += 1;
        hls.recoverMediaError();
      } else {
        this.again(refusal);
      }
    });
    hls.loadSource(this.url);
    hls.attachMedia(video);
  }

  natively() {
    const { video } = this.parts;
    video.src = this.url;
    video.onerror = () => this.again();
    this.play();
  }

  // What is on air is tried for as long as it is. `fault`: what is known of why it does not play.
  again(fault = null) {
    const wait = RETRY_MS[Math.min(this.faults, RETRY_MS.length - 1)];
    this.faults += 1;
    const onAir = this.state === "live" || this.state === "waiting";
    const why = fault ? sentence(fault.words)
      : onAir ? "The stream is interrupted." : "The stream can’t be played now.";
    this.stop();
    if (onAir || this.faults < RETRY_MS.length) {
      this.say(`${why} Trying again…`);
      this.timer = setTimeout(() => this.begin(), wait);
    } else {
      const way = this.recorded ? "Press “From the start”" : "Reload this page";
      this.say(`${why} This page has stopped trying. ${way} to try again.`);
    }
  }

  async play() {
    const { video, unmute } = this.parts;
    try {
      await video.play();
    } catch (refused) {
      if (refused.name !== "NotAllowedError") return;
      this.volume.muteForNow(); // browsers start sound only after a click
      unmute.hidden = false;
      video.play().catch(() => {});
    }
  }

  toEdge() {
    const { video } = this.parts;
    const position = this.hls?.liveSyncPosition;
    if (position) video.currentTime = position;
    else if (video.seekable.length) video.currentTime = video.seekable.end(video.seekable.length - 1);
    this.play();
  }

  // How far behind the encoder: by the stream's own dates where there are some.
  behind() {
    const date = this.hls?.playingDate;
    if (date) return (Date.now() - date.getTime()) / 1000;
    return this.hls?.latency || NaN;
  }

  showLatency() {
    const { latency, edge, video } = this.parts;
    const live = this.mode === "live" && this.state === "live" && !video.paused;
    const seconds = live ? this.behind() : NaN;
    latency.textContent = Number.isFinite(seconds) && seconds > 0 && seconds < 3600
      ? `${seconds.toFixed(1)} s behind` : "";
    const target = this.hls?.targetLatency ?? 3;
    edge.hidden = !(this.mode === "live" && this.hls && this.hls.latency > target + 4);
  }

  resetQualities() {
    this.parts.quality.replaceChildren(new Option("Auto", "-1"));
    this.parts.quality.disabled = true;
  }

  showQualities() {
    const { quality } = this.parts;
    const { hls } = this;
    if (!hls) return;
    const levels = hls.levels.map((level, at) => ({ level, at }));
    levels.sort((a, b) => b.level.bitrate - a.level.bitrate);
    const name = (level) => [
      level.height ? `${Math.min(level.width, level.height)}p` : "Sound",
      level.frameRate > 31 ? Math.round(level.frameRate) : "",
      `· ${(level.bitrate / 1e6).toFixed(1)} Mbit/s`,
    ].filter(Boolean).join(" ");
    const now = hls.levels[hls.currentLevel];
    const auto = hls.autoLevelEnabled && now ? `Auto (${name(now).split(" ")[0]})` : "Auto";
    const chosen = hls.autoLevelEnabled ? "-1" : String(hls.loadLevel);
    quality.replaceChildren(
      new Option(auto, "-1"), ...levels.map(({ level, at }) => new Option(name(level), String(at))),
    );
    quality.value = chosen;
    quality.disabled = levels.length < 2;
  }

  onKeys(target) {
    const { video } = this.parts;
    target.addEventListener("keydown", (event) => {
      const place = event.target;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (!video.getClientRects().length) return; // it is not shown: nothing to steer
      if (place instanceof Element && place.closest("button, select, input, textarea, summary, a, video, code")) {
        if (place !== video || " ".includes(event.key)) return; // they have keys of their own
      }
      const actions = {
        " ": () => (video.paused ? this.play() : video.pause()),
        k: () => (video.paused ? this.play() : video.pause()),
        m: () => { video.muted = !video.muted; },
        c: () => this.captions.toggle(),
        t: () => this.theatre.toggle(),
        l: () => this.toEdge(),
        f: () => (document.fullscreenElement ? document.exitFullscreen() : video.requestFullscreen()),
        ArrowLeft: () => { video.currentTime -= 5; },
        ArrowRight: () => { video.currentTime += 5; },
      };
      const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!action) return;
      event.preventDefault();
      action();
    });
  }
}
