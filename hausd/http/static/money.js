// Amounts as people write them. They come as strings of base units.

const SYMBOLS = { // well-known mints, all with 6 decimals; what a mint calls itself proves nothing
  EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v: "USDC",
  HzwqbKZw8HxMN6bF2yFZNrht3c2iXXzpKcFu7uBEDKtr: "EURC",
  Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB: "USDT",
  "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU": "USDC (devnet)",
};
const KNOWN_DECIMALS = 6;

export function money(amount, mint, decimals) {
  const places = mint in SYMBOLS ? KNOWN_DECIMALS : decimals;
  const digits = String(amount).padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const part = digits.slice(digits.length - places).replace(/0+$/, "");
  const name = mint ? SYMBOLS[mint] ?? `of ${mint.slice(0, 6)}…${mint.slice(-6)}` : "SOL";
  return `${whole}${part && `.${part}`} ${name}`;
}

// [name, price] of each kind of ticket.
export function offersOf({ offers = [], mint = null, decimals = 9 }) {
  return offers.map(({ name, price, sold_out: gone }) => [
    name || "Ticket",
    `${/^0+$/.test(price) ? "free" : money(price, mint, decimals)}${gone ? " · sold out" : ""}`,
  ]);
}
