// The door of a gated room: what keeps the viewer out and what to do about it; signing in with a
// wallet, staying signed in, signing out. The token is in a cookie that no script can read.
import { Fault, api, ask, faultOf } from "./api.js";
import { copyButton } from "./copying.js";
import { offersOf } from "./money.js";
import { REFUSALS, sentence } from "./refusals.js";
import { isHere, say } from "./showing.js";
import { watchWallets } from "./wallets.js";

const RENEW_MS = 5 * 60 * 1000; // a token is good for 15 minutes
const RENEW_AGAIN_MS = 30 * 1000;
const MOST_WALLETS = 12;
const OVER = ["ended", "finalized", "cancelled"]; // events that sell no tickets any more
const OF_TICKETS = ["no-ticket", "refunded", "banned", "chain-unknown"];
const OF_PREVIEWS = ["no-ticket", "sign-in-needed", "no-delegation"];

const short = (address) => `${address.slice(0, 4)}…${address.slice(-4)}`;

export class Entry {
  // parts: elements by name; changed(): who is signed in has changed; shut(): the room can't be
  // watched any more.
  constructor(parts, room, { changed, shut }) {
    this.parts = parts;
    this.room = room;
    this.changed = changed;
    this.shut = shut;
    this.refusal = null;
    this.refusedUrl = ""; // what to ask for again, where that is not a playlist
    this.signed = null; // {wallet, live_url, …}, as the API said last
    this.shape = null;
    this.timer = 0;
    this.hint = `hausd-signed-in-${room}`; // whether there may be a cookie: nothing secret
    parts.textForm.addEventListener("submit", (event) => this.showText(event));
    parts.signatureForm.addEventListener("submit", (event) => this.takeSignature(event));
    parts.enter.addEventListener("click", () => this.open(this.parts.panel.hidden));
    parts.signOut.addEventListener("click", () => this.signOut());
    parts.copyText.append(copyButton(() => parts.text.value, "the text to sign", parts.text));
    watchWallets((wallets) => this.showWallets(wallets));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.signed && Date.now() > this.renewDue) this.renew();
    });
  }

  // Whether the refusal ends by itself in a moment.
  get soon() {
    return ["try-later", "ticket-unchecked"].includes(this.refusal?.code);
  }

  // What the API says of the room.
  async roomIs(shape) {
    const first = this.shape === null;
    this.shape = shape;
    if (!shape.gated) return;
    if (first && remembers(this.hint)) await this.renew();
    this.showOffers();
    this.showPreview();
  }

  // Asks whether a playlist may be had: true, or false once the page says why not.
  async admits(url) {
    if (!this.shape?.gated) return true;
    const answer = await ask(this.refusedUrl || url);
    if (answer.ok) answer.body?.cancel();
    return !this.refuse(answer.ok ? null : await faultOf(answer));
  }

  // Takes what somebody was answered (null: what they asked for). Gives whether that shuts the
  // room; `url` is what they asked for, where that was no playlist.
  refuse(fault, url = "") {
    const refusal = this.shape?.gated && fault && fault.code in REFUSALS ? fault : null;
    const before = this.refusal;
    this.refusal = refusal;
    if (!refusal) this.refusedUrl = "";
    else if (url) this.refusedUrl = url;
    this.showRefusal();
    this.showPreview();
    if (refusal && !before) this.shut();
    return Boolean(refusal);
  }

  // Who watches a preview has not been refused anything, and may have a ticket.
  open(on) {
    const { panel, title, enter } = this.parts;
    enter.setAttribute("aria-expanded", String(on));
    panel.hidden = !on;
    if (!on) return;
    this.show(REFUSALS.preview, REFUSALS.preview.says);
    title.focus();
  }

  showRefusal() {
    if (!this.refusal) {
      if (this.shown !== REFUSALS.preview) this.parts.panel.hidden = true;
      return;
    }
    this.parts.panel.hidden = false;
    const { code } = this.refusal;
    const lost = this.signed && code === "no-ticket";
    // Who has signed in has done what there is to do: the node asks for the keys.
    const asks = this.signed && code === "no-delegation";
    const known = REFUSALS[lost ? "lost" : asks ? "try-later" : code];
    const { free } = this.shape;
    const nobody = code === "sign-in-needed" && !this.refusal.hint.includes("/sign-in");
    // Of a preview the node says more than this page could: how long it was, what is free.
    const told = (free && OF_PREVIEWS.includes(code) && !lost) || !known.says;
    this.show(
      nobody ? { ...known, act: [] } : known,
      nobody ? this.refusal.message : told ? sentence(this.refusal.words) : known.says,
    );
  }

  show(known, words) {
    const { title, says, wallets, byHand, use, buying } = this.parts;
    this.shown = known;
    say(title, known.title);
    say(says, words);
    const acts = new Set(known.act);
    wallets.hidden = !acts.has("wallet");
    byHand.hidden = !acts.has("wallet");
    use.hidden = !acts.has("use") || !isHere;
    buying.hidden = !acts.has("buy") || OVER.includes(this.shape.event?.status);
  }

  showOffers() {
    const { offers, buying, buy, tiers, useCode } = this.parts;
    const rows = offersOf(this.shape.event ?? {});
    const shown = JSON.stringify(rows);
    if (shown === this.shownOffers) return;
    this.shownOffers = shown;
    offers.replaceChildren(...rows.flatMap(([name, price]) => [element("dt", name), element("dd", price)]));
    buying.querySelector(".none").hidden = rows.length > 0;
    tiers.hidden = rows.length < 2;
    say(buy, `hausctl tickets buy ${this.room} --keypair wallet.json`);
    say(useCode, `hausctl tickets use ${this.room} --keypair wallet.json`);
  }

  // That what is live is free, for who has not signed in.
  showPreview() {
    const { free, withheld } = this.shape ?? {};
    // The owner of a node that has the keys watches all of it.
    const owns = isHere && free?.rendition && !withheld;
    const shown = Boolean(free?.now.length && !owns && !this.signed && !this.refusal);
    this.parts.preview.hidden = !shown;
    this.parts.enter.hidden = !shown;
    if (!shown && this.shown === REFUSALS.preview && !this.refusal) this.parts.panel.hidden = true;
  }

  // -- signing in --

  showWallets(wallets) {
    const { walletList, noWallet } = this.parts;
    noWallet.hidden = wallets.length > 0;
    walletList.replaceChildren(...wallets.slice(0, MOST_WALLETS).map((wallet) => {
      const button = element("button", `Sign in with ${wallet.name}`);
      button.type = "button";
      button.className = "primary";
      if (wallet.icon) {
        const icon = element("img");
        icon.src = wallet.icon;
        icon.alt = "";
        icon.addEventListener("error", () => icon.remove());
        button.prepend(icon);
      }
      button.addEventListener("click", () => this.withWallet(wallet));
      return button;
    }));
  }

  // Does a step of signing in; what goes wrong is said.
  async step(action) {
    const { walletList, status } = this.parts;
    if (this.busy) return;
    this.busy = true;
    for (const button of walletList.children) button.setAttribute("aria-disabled", "true");
    try {
      await action();
      say(status, "");
    } catch (fault) {
      say(status, reason(fault));
      status.classList.toggle("bad", true);
    } finally {
      this.busy = false;
      for (const button of walletList.children) button.removeAttribute("aria-disabled");
    }
  }

  tell(words) {
    this.parts.status.classList.toggle("bad", false);
    say(this.parts.status, words);
  }

  withWallet(wallet) {
    return this.step(async () => {
      this.tell(`${wallet.name} asks whether this page may see your address…`);
      const text = await this.challenge(await wallet.connect());
      this.tell(`${wallet.name} shows you a text to sign. It sends nothing and costs nothing.`);
      await this.signIn(text, await wallet.sign(text));
    });
  }

  async challenge(wallet) {
    const asked = new URLSearchParams({ room: this.room, wallet });
    return (await api(`sign-in?${asked}`)).text;
  }

  async signIn(text, signature) {
    this.tell("Your ticket is looked up on chain…");
    this.welcome(await api("sign-in", { text, signature }));
    remember(this.hint, true);
    await this.changed();
  }

  showText(event) {
    event.preventDefault();
    return this.step(async () => {
      this.parts.text.value = await this.challenge(this.parts.address.value.trim());
      this.parts.signatureForm.hidden = false;
      this.parts.text.focus();
      this.parts.text.select();
      this.parts.text.scrollTop = 0;
    });
  }

  takeSignature(event) {
    event.preventDefault();
    const { text, signature, signatureForm } = this.parts;
    return this.step(async () => {
      await this.signIn(text.value, signature.value.trim());
      signatureForm.hidden = true;
      signature.value = "";
    });
  }

  // -- signed in --

  welcome(signed) {
    const { bar, who } = this.parts;
    this.signed = signed;
    bar.hidden = !signed;
    clearTimeout(this.timer);
    if (!signed) return;
    say(who, short(signed.wallet));
    who.title = signed.wallet;
    this.renewIn(RENEW_MS);
    this.showPreview();
  }

  renewIn(ms) {
    clearTimeout(this.timer);
    this.renewDue = Date.now() + ms;
    this.timer = setTimeout(() => this.renew(), ms);
  }

  async renew() {
    try {
      this.welcome(await api("sign-in/renew", { room: this.room }));
    } catch (fault) {
      if (fault.status === 401) {
        remember(this.hint, false);
        this.welcome(null);
      } else {
        this.renewIn(RENEW_AGAIN_MS);
      }
    }
  }

  async signOut() {
    const { bar } = this.parts;
    const failed = bar.querySelector("[role=status]");
    try {
      await api("sign-in/out", { room: this.room });
      say(failed, "");
    } catch (fault) {
      say(failed, `You are still signed in. ${sentence(fault.message)}`);
      return;
    }
    remember(this.hint, false);
    this.welcome(null);
    await this.changed();
  }
}

// Wallets say it in many ways; 4001 is their code for a user who said no.
function reason(fault) {
  if (fault instanceof Fault) {
    return OF_TICKETS.includes(fault.code) ? REFUSALS[fault.code].says : sentence(fault.message);
  }
  if (fault?.code === 4001 || /reject|denied|declin|cancel/i.test(fault?.message ?? "")) {
    return "You did not sign, so nothing happened.";
  }
  return `The wallet could not sign: ${sentence(fault?.message || "it does not say why.")}`;
}

function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function remembers(key) {
  try {
    return localStorage.getItem(key) !== null;
  } catch { // storage is switched off: it is signed in anew
    return false;
  }
}

function remember(key, whether) {
  try {
    if (whether) localStorage.setItem(key, "1");
    else localStorage.removeItem(key);
  } catch { /* see above */ }
}
