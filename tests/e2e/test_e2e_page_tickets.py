"""The page of somebody else's node: a wallet signs in, and the show plays in the browser."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page
from solders.keypair import Keypair
from support.browser import Watching, watching
from support.node import Node, node, until
from support.publish import publishing
from support.wallets import wallet

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built"),
]
SETS = (
    "media.ladder=[]",
    "media.images=false",
    "ingest.reconnect_s=1",
    'http.trusted_proxies=["127.0.0.1"]',
)
AWAY = {"x-forwarded-for": "203.0.113.7"}
"""Behind a reverse proxy, as whoever is not on the node's machine is seen."""
ICON = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAW"
    "jR9awAAAABJRU5ErkJggg=="
)
NAME = "Wallet <b>One</b>"
WALLET = """
const account = {address: ADDRESS, publicKey: new Uint8Array(32), chains: ['solana:mainnet'],
  features: ['solana:signMessage']};
const sign = async ({message}) => {
  if (window.declines) throw Object.assign(new Error('User rejected the request.'), {code: 4001});
  return {signedMessage: message, signature: Uint8Array.from(await signBytes([...message]))};
};
const wallet = {
  version: '1.0.0', name: NAME, icon: ICON, accounts: [],
  chains: ['solana:mainnet'],
  features: {
    'standard:connect': {version: '1.0.0', connect: async () => ({accounts: [account]})},
    'solana:signMessage': {version: '1.1.0', signMessage: (...all) => Promise.all(all.map(sign))},
  },
};
const known = ({register}) => register(wallet);
addEventListener('wallet-standard:app-ready', ({detail}) => known(detail));
dispatchEvent(new CustomEvent('wallet-standard:register-wallet', {detail: known}));
"""
LATER = """
(now => { Date.now = () => now() + 6 * 60e3; })(Date.now);
document.dispatchEvent(new Event('visibilitychange'));
"""
TURNS = """
window.turns = [];
new MutationObserver(() => turns.push(!document.querySelector('#entry').hidden))
  .observe(document.querySelector('#entry'), {attributeFilter: ['hidden']});
"""
"""Notes each time that the door is shown or taken away."""


def give_wallet(page: Page, key: Keypair) -> None:
    """A browser with a wallet in it, which makes itself known by the Wallet Standard."""
    page.expose_function("signBytes", lambda raw: list(bytes(key.sign_message(bytes(raw)))))
    filled = WALLET.replace("ADDRESS", json.dumps(str(key.pubkey())))
    named = filled.replace("NAME", json.dumps(NAME)).replace("ICON", json.dumps(ICON))
    page.add_init_script(named)


def player(at: Node, room: str, key: Keypair) -> str:
    """Another device signs in with the wallet and plays; gives its token."""
    asked = {"room": room, "wallet": str(key.pubkey())}
    text = at.get("/api/v1/sign-in", params=asked, headers=AWAY).json()["text"]
    body = {"text": text, "signature": str(key.sign_message(text.encode()))}
    signed = httpx.post(f"{at.http}/api/v1/sign-in", json=body, headers=AWAY, trust_env=False)
    assert at.get(signed.json()["live_url"], headers=AWAY).status_code == 200
    return str(signed.json()["token"])


PRESSED_OR_IN = """() => {
    if (!document.querySelector("#signed-in").hidden) return true;
    document.querySelector("#wallets button")?.click();
    return false;
}"""


def signs_in(seen: Watching) -> None:
    """Presses the wallet's button until the node has seen the ticket on chain."""

    def inside() -> bool:
        # looked at and pressed in one step, so that who is in by now does not sign in again, and
        # not by the mouse, which would wait for a button that has just done its work
        return bool(seen.page.evaluate(PRESSED_OR_IN))

    seen.until(inside)


def test_a_wallet_signs_in_on_the_page_and_the_show_plays_until_the_ticket_is_gone(
    tmp_path: Path, looped_h264: Path
) -> None:
    allowed = ("Failed to load resource",)  # the browser's word for each refusal
    with node(tmp_path / "origin", *SETS) as origin, watching(allowed=allowed) as seen:
        page = seen.page
        artist = wallet(tmp_path / "artist.json", origin.words["chain"]).file
        held = wallet(tmp_path / "holder.json", origin.words["chain"])
        holder, file = held.key, held.file
        options = ("--ticket-price", "0.25", "--ends", "+2h", "--keypair", artist)
        event = origin.ctl("events", "create", "Sundown", *options)
        room, url = event["id"], f"{origin.http}/?room={event['id']}"
        give_wallet(page, holder)
        page.set_extra_http_headers(AWAY)
        with publishing(looped_h264, f"{origin.rtmp}/{event['stream_key']}"):
            origin.wait_state(room, "live")
            page.goto(url)
            page.wait_for_selector("#entry", state="visible")
            assert seen.text("entry-title") == "This show is for ticket holders"
            assert "0.25 SOL" in page.inner_text("#entry .offers")
            assert f"hausctl tickets buy {room}" in page.inner_text("#entry")
            assert not page.locator("video").is_visible()
            button = page.locator("#wallets button")
            assert button.inner_text() == f"Sign in with {NAME}"

            page.evaluate("window.declines = true")
            button.click()
            seen.until(lambda: "did not sign" in seen.text("entry-status"))
            page.evaluate("window.declines = false")
            button.click()
            seen.until(lambda: "no ticket for this show" in seen.text("entry-status"))

            origin.ctl("tickets", "buy", room, "--yes", "--keypair", file)
            signs_in(seen)
            seen.plays()
            assert not page.locator("#entry").is_visible()
            address = str(holder.pubkey())
            assert f"{address[:4]}…{address[-4:]}" in page.inner_text("#signed-in")
            # what a script that got in could steal
            (cookie,) = page.context.cookies()
            assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
            kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
            assert cookie["value"] not in page.url + kept + page.evaluate("document.cookie")

            with page.expect_response("**/sign-in/renew") as renewed:
                page.reload()
            assert renewed.value.status == 200
            seen.plays()

            # signed out: it ends here at once, and the token is worth nothing elsewhere either
            token = page.context.cookies()[0]["value"]
            page.click("#signed-in button")
            page.wait_for_selector("#entry", state="visible")
            assert not page.locator("#signed-in").is_visible()
            assert page.context.cookies() == []
            stolen = origin.get(f"/live/{room}/t/{token}/index.m3u8", headers=AWAY)
            assert stolen.json()["error"]["code"] == "bad-token"

            # on as many devices as may be, and by hand: a text, a signature
            others = [player(origin, room, holder) for _ in range(2)]
            page.click("#entry summary")
            page.fill("#address", address)
            page.click("text=Get the text")
            seen.until(lambda: page.input_value("#text"))
            page.fill("#signature", signature(origin, file, page.input_value("#text")))
            page.click("#entry form .primary")
            seen.until(lambda: seen.text("entry-title") == "Your ticket is in use")
            body = {"room": room, "token": others[0]}
            left = f"{origin.http}/api/v1/sign-in/out"
            assert httpx.post(left, json=body, headers=AWAY, trust_env=False).status_code == 204
            seen.plays()

            # the owner of a node that has no keys yet: the same page, at home
            chain = f"chain.rpc_url={origin.words['chain']}"
            with node(tmp_path / "home", chain, *SETS) as home:
                home.ctl("peers", "connect", origin.words["peer"])
                page.set_extra_http_headers({})
                page.goto(f"{home.http}/?room={room}")
                seen.until(lambda: f"hausctl tickets use {room}" in page.inner_text("#entry"))
                signs_in(seen)
                seen.plays()
                # cookies are of a host, whatever the port: neither node takes the other's
                cookies = page.context.cookies()
                assert len({one["name"] for one in cookies}) == len(cookies) == 2
                page.goto(origin.http)

            # a player's URL by one command
            signed = origin.ctl("tickets", "sign-in", url, "--keypair", file)
            assert until(lambda: origin.get(signed["live_url"]).status_code in (200, 429))

            page.set_extra_http_headers(AWAY)
            page.goto(url)
            seen.plays()
            origin.ctl("keys", "ban", room, address)
            seen.until(lambda: seen.text("entry-title") == "Your ticket is gone")
            assert not page.locator("video").is_visible()
        seen.require_quiet()


def test_a_preview_plays_for_everybody_and_who_has_a_ticket_finds_the_way_in(
    tmp_path: Path, looped_h264: Path
) -> None:
    with (
        node(tmp_path / "origin", *SETS) as origin,
        watching(allowed=("Failed to load resource",)) as seen,
    ):
        page = seen.page
        made = wallet(tmp_path / "artist.json", origin.words["chain"])
        artist, file = made.key, made.file
        options = ("--ticket-price", "0.25", "--ends", "+2h")
        event = origin.ctl("events", "create", "Sundown", *options, "--keypair", file)
        give_wallet(page, artist)
        page.set_extra_http_headers(AWAY)
        with publishing(looped_h264, f"{origin.rtmp}/{event['stream_key']}"):
            origin.wait_state(event["id"], "live")
            page.goto(f"{origin.http}/?room={event['id']}")
            page.wait_for_selector("#entry", state="visible")
            page.evaluate(TURNS)
            origin.ctl("rooms", "set", event["id"], "--preview", "1h")
            seen.plays()
            assert not any(page.evaluate("window.turns"))  # it is taken away, and stays away
            seen.until(lambda: page.locator("#preview").is_visible())
            page.click("#enter")
            assert seen.text("entry-title") == "Watch the whole show"
            seen.plays()
            signs_in(seen)
            assert not page.locator("#preview").is_visible()
            assert not page.locator("#entry").is_visible()
            seen.plays()
            # a device that slept for a while renews its token when it wakes
            with page.expect_response("**/sign-in/renew") as renewed:
                page.evaluate(LATER)
            assert renewed.value.status == 200
        seen.require_quiet()


def signature(at: Node, file: str, text: str) -> str:
    """What hausctl signs of the text that the page shows."""
    command = [sys.executable, "-m", "hausctl", "--home", str(at.home), "tickets", "sign-in", "-"]
    done = subprocess.run(
        [*command, "--keypair", file], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
