// What keeps viewers out of a gated room, in words, and what is to be done about it. The codes are
// those of docs/keys.md.

// Refusals that end with somebody doing something. Everything else is the player's business.
// says: in the place of the node's own words; act: what is offered (a wallet to sign in with,
// tickets to buy, this node's owner to let it watch).
export const REFUSALS = {
  "sign-in-needed": {
    title: "This show is for ticket holders",
    says: "Sign in with the wallet that has your ticket to watch it here.",
    act: ["wallet", "buy"],
  },
  "no-delegation": {
    title: "This show is for ticket holders",
    says: "Your node may watch once the wallet that has the ticket lets it.",
    act: ["wallet", "use", "buy"],
  },
  "no-ticket": { title: "No ticket", says: "This wallet has no ticket for this show.", act: ["buy", "wallet", "use"] },
  refunded: {
    title: "Your ticket is gone",
    says: "The ticket was given back or passed on, so the show ends here for this wallet.",
    act: ["buy", "wallet", "use"],
  },
  banned: { title: "Not with this wallet", says: "The artist has banned this wallet from the room.", act: [] },
  "bad-token": { title: "Please sign in again", says: "This node does not know your sign-in any more.", act: ["wallet"] },
  "token-expired": { title: "Please sign in again", says: "You were away for a while, and your sign-in ended.", act: ["wallet"] },
  "token-from-elsewhere": {
    title: "Please sign in again",
    says: "Your sign-in was made on another network, and holds only there.",
    act: ["wallet"],
  },
  "too-many-playbacks": {
    title: "Your ticket is in use",
    says: "It plays on as many devices as it may. Stop one of them: its place is free a minute later, and this page goes on by itself.",
    act: [],
  },
  "too-many-delegates": {
    title: "Your ticket is in use",
    says: "It is in use at as many nodes as it may be. This page goes on by itself when one of them stops.",
    act: [],
  },
  expired: { title: "Your node’s permission ended", says: "The wallet that has the ticket let this node watch for a time, which is over.", act: ["wallet", "use"] },
  "ticket-unchecked": { title: "One moment", says: "The ticket is being looked up on chain.", act: [] },
  "chain-unknown": {
    title: "The ticket can’t be checked now",
    says: "The chain does not answer. Nobody new is let in until it does; this page tries again by itself.",
    act: [],
  },
  "no-key-holder": {
    title: "The keys are out of reach",
    says: "No node that has this room’s keys can be reached now. This page tries again by itself.",
    act: [],
  },
  lost: { // a ticket that was there when the show began
    title: "Your ticket is gone",
    says: "It was given back or passed on, or the artist has banned your wallet: the show ends here.",
    act: ["buy", "wallet"],
  },
  preview: { // nothing was refused yet
    title: "Watch the whole show",
    says: "This is the free preview. Sign in with the wallet that has your ticket.",
    act: ["wallet", "use", "buy"],
  },
  "try-later": { title: "One moment", says: "The room’s keys are on their way.", act: [] },
};
for (const code of ["wrong-event", "not-yet", "other-node", "bad-delegation"]) {
  REFUSALS[code] = { title: "Your node may not watch", act: ["use", "wallet"] };
}
for (const code of ["not-a-key-holder", "wrong-key", "not-named"]) {
  REFUSALS[code] = { title: "The keys are out of reach", act: [] };
}

export function sentence(words) {
  const text = String(words).trim();
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}`;
}
