"""What to do about what the programs refuse: a word to each of their errors.

The sentences are the IDLs' own; here stands what the user of a command can do.
"""

from __future__ import annotations

from hausctl.client import Refused

_PLAIN = "be paid in SOL, USDC, EURC, USDT, or a plain token: docs/programs.md says which"
ADVICE = {
    # EventFactory
    "Unauthorized": "sign with the wallet that may: events show, or platform show, names it",
    "WrongStatus": "hausctl events show tells how far it is, docs/programs.md what goes when",
    "FeeTooHigh": "a platform takes at most 10 %",
    "BadSchedule": "the end lies ahead, within a year of the start, and moves by 30 days at most",
    "BadText": "a title has 1 to 64 bytes of UTF-8",
    "BadSplit": "name at most 8 payees, each once, with 100 % in all at most",
    "BadPayee": "name the address of a wallet",
    "PayeeTwice": "write the sum of its shares once",
    "NoTreasury": "name a wallet with --treasury",
    "NeverLive": "hausctl events live, or hausctl events cancel",
    "CheckpointBehind": "another node writes this event's checkpoints: is its key the right one?",
    "TipsOpen": "a late tip moved the end: hausctl events show says when tips close",
    "TooEarly": "wait until a day after the event's end, or have its artist do it",
    "AlreadyDelivered": "hausctl events show names its owner",
    "RecordingTold": "the artist's wallet may change it",
    # TicketFactory
    "SoldOut": "take fewer, or another tier; hausctl events show lists them",
    "NoSuchTier": "hausctl events show lists the tiers",
    "NotOnSale": "hausctl events show tells when they are sold",
    "PriceAboveLimit": "look at the price again: hausctl events show",
    "WalletLimit": "take fewer; hausctl events show tells how many a wallet may have",
    "NotTransferable": "the artist chose so when the event was made",
    "NotRefundable": "hausctl events show tells until when; a cancelled event gives all back",
    "NotEnoughTickets": "hausctl tickets list --holder ADDRESS shows what a wallet has",
    "BadTier": "an event has at most 8 tiers; the sale of each ends after it begins",
    "TicketNotEmpty": "give the tickets back, or wait until the event is settled",
    # LiveTipping
    "TipTooSmall": "tip more",
    "TipsClosed": "hausctl events show tells how far the event is, and when tips close",
    "BadClose": "the end can't be moved so: hausctl events show tells when tips close",
    "StillExtended": "wait until the tips close: hausctl events show",
    "RecordHasTips": "hausctl tips refund gives them back, and closes the record",
    # all
    "WrongAccount": "name the event and the wallet again: one of them belongs to another",
    "NotTheEvent": "only EventFactory may do that",
    "BadData": "are hausctl and the programs of the same version?",
    "WrongState": "hausctl events show tells how far it is, docs/programs.md what goes when",
    "BadPayouts": "are the programs of one version?",
    "NoSuchPayout": "hausctl events show lists who is owed what",
    "AlreadyClaimed": "hausctl events show lists who was paid",
    "PayeeBelowRent": "the payee's wallet needs 0.001 SOL first; then ask again",
    "Insolvent": "never to be seen: please report it",
    "UnknownTokenProgram": "name the address of a token's mint",
    "NotAMint": "name the address of a token's mint, not of somebody's tokens",
    "MintFreezes": _PLAIN,
    "MintTakesFees": _PLAIN,
    "MintCanBeClosed": _PLAIN,
    "MintConfidential": _PLAIN,
    "MintFreezesNew": _PLAIN,
    "MintNotTransferable": _PLAIN,
    "MintScales": _PLAIN,
    "MintHasDelegate": _PLAIN,
    "MintHasHook": _PLAIN,
    "MintPausable": _PLAIN,
    "MintExtended": _PLAIN,
    "PaidInSol": "are hausctl and the node of the same version?",
    "PaidInTokens": "are hausctl and the node of the same version?",
    "NotTheirTokens": "the wallet has no account for these tokens: hausctl keys balance shows all",
    # the chain's own
    "InsufficientFunds": "hausctl keys balance shows what a wallet has",
    "OwnerMismatch": "sign with the wallet whose they are",
    "MintDecimalsMismatch": "what the node was told of the token is not true: set another "
    "chain.rpc_url",
    "NoMemo": "have its owner do that, or the winner: hausctl events set-rta-recipient",
    "CpiGuardTransferBlocked": "have its owner do that, or pay from another wallet",
    "AccountFrozen": "whoever froze it can thaw it; what others are owed does not wait for it",
    "AccountNotFound": "fill the wallet: hausctl keys airdrop on the node's own chain",
    "InsufficientFundsForFee": "fill the wallet: hausctl keys airdrop on the node's own chain",
    "SystemProgram": "fill the wallet: hausctl keys airdrop on the node's own chain",
}


def advised(fault: Refused) -> Refused:
    """The same refusal, with what can be done about it."""
    advice = ADVICE.get(fault.code)
    if advice is None:
        return fault
    return Refused(fault.code, fault.message, "\n".join(filter(None, (advice, fault.hint))))
