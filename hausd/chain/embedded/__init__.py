"""A chain of one's own: LiteSVM behind Solana's JSON-RPC and WebSocket.

It proves only what its operator vouches for; see ``docs/decisions/0022-embedded-chain.md``.
"""
