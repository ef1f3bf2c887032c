"""The on-chain programs: their accounts, instructions, events and errors. No I/O.

In ``core``, since the node reads the chain with it and ``hausctl`` builds and shows with it what
a wallet signs.
"""
