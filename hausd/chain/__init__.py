"""The chain over JSON-RPC: a typed client, sending, subscriptions, and the index.

Every answer is untrusted until it is checked; see ``docs/decisions/0021-chain-client.md``.
"""
