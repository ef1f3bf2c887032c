// Wallets in the browser, and what they sign. They make themselves known as the Wallet Standard
// says (https://github.com/wallet-standard/wallet-standard); older ones are window.solana.

const SIGNS = "solana:signMessage";
const CONNECTS = "standard:connect";
const DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

export function base58(bytes) {
  let number = 0n;
  for (const byte of bytes) number = number * 256n + BigInt(byte);
  let text = "";
  for (; number > 0n; number /= 58n) text = DIGITS[Number(number % 58n)] + text;
  for (let at = 0; at < bytes.length && bytes[at] === 0; at += 1) text = DIGITS[0] + text;
  return text;
}

// Each has name, icon (a data: URL, or empty), connect() for the address, and sign(text) for the
// signature in base58.
class StandardWallet {
  constructor(wallet) {
    this.wallet = wallet;
    this.name = String(wallet.name);
    const icon = String(wallet.icon ?? "");
    this.icon = /^data:image\/(svg\+xml|webp|png|gif);base64,/.test(icon) ? icon : "";
  }

  async connect() {
    const told = await this.wallet.features[CONNECTS].connect();
    const accounts = told?.accounts ?? this.wallet.accounts;
    this.account = accounts.find((each) => each.features.includes(SIGNS));
    if (!this.account) throw new Error(`${this.name} has no Solana account that can sign.`);
    return this.account.address;
  }

  async sign(text) {
    const message = new TextEncoder().encode(text);
    const [signed] = await this.wallet.features[SIGNS].signMessage({ account: this.account, message });
    return base58(signed.signature);
  }
}

class OlderWallet {
  constructor(provider) {
    this.provider = provider;
    this.name = provider.isPhantom ? "Phantom" : provider.isSolflare ? "Solflare" : "Browser wallet";
    this.icon = "";
  }

  async connect() {
    const told = await this.provider.connect();
    return String(told?.publicKey ?? this.provider.publicKey);
  }

  async sign(text) {
    const signed = await this.provider.signMessage(new TextEncoder().encode(text), "utf8");
    return base58(signed.signature ?? signed);
  }
}

// Calls `changed` with the list of wallets, now and whenever one comes or goes.
export function watchWallets(changed) {
  const found = new Map();
  const tell = () => {
    const listed = [...found.values()];
    const older = window.solana?.signMessage && window.solana?.connect;
    changed(listed.length || !older ? listed : [new OlderWallet(window.solana)]);
  };
  const register = (...wallets) => {
    for (const wallet of wallets) {
      const signs = wallet.features?.[SIGNS] && wallet.features?.[CONNECTS];
      if (signs && !found.has(wallet)) found.set(wallet, new StandardWallet(wallet));
    }
    tell();
    return () => {
      for (const wallet of wallets) found.delete(wallet);
      tell();
    };
  };
  const app = Object.freeze({ register });
  window.addEventListener("wallet-standard:register-wallet", ({ detail }) => detail(app));
  window.dispatchEvent(new CustomEvent("wallet-standard:app-ready", { detail: app }));
  window.addEventListener("load", tell, { once: true }); // extensions may come late
  tell();
}
