"""A chain for deployments: a runtime with a cluster's features behind a little JSON-RPC.

The embedded chain's runtime has every feature on, among them one that ends deployments by this
loader and is on no cluster. Run in an environment of its own (``scripts/programs test``):
prints its port.
"""

from __future__ import annotations

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

SVM = LiteSVM().with_mainnet_features().with_transaction_history(0).with_blockhash_check(False)
DONE: dict[str, str | None] = {}


def get_account_info(name: str, options: object) -> Any:
    account = SVM.get_account(Pubkey.from_string(name))
    if account is None or not account.lamports:
        return {"value": None}
    return {"value": {"data": [base64.b64encode(account.data).decode(), "base64"]}}


def send_transaction(raw: str, options: dict[str, Any]) -> str:
    transaction = Transaction.from_bytes(base64.b64decode(raw))
    name = str(transaction.signatures[0])
    if name not in DONE:
        result = SVM.send_transaction(transaction)
        failed = isinstance(result, FailedTransactionMetadata)
        DONE[name] = str(result.err()) if failed else None
        if failed and not options["skipPreflight"]:
            raise ValueError(f"{result.err()} {result.meta().logs()}")
        SVM.warp_to_slot(SVM.get_clock().slot + 1)
    return name


def signature_statuses(names: list[str]) -> Any:
    done = {"confirmationStatus": "confirmed"}
    return {"value": [done | {"err": DONE[name]} if name in DONE else None for name in names]}


METHODS: dict[str, Any] = {
    "getAccountInfo": get_account_info,
    "sendTransaction": send_transaction,
    "getSignatureStatuses": signature_statuses,
    "getMinimumBalanceForRentExemption": SVM.minimum_balance_for_rent_exemption,
    "getBalance": lambda name: {"value": SVM.get_balance(Pubkey.from_string(name)) or 0},
    "getLatestBlockhash": lambda options: {"value": {"blockhash": str(SVM.latest_blockhash())}},
    "requestAirdrop": lambda name, lamports: str(SVM.airdrop(Pubkey.from_string(name), lamports)),
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            told = {"result": METHODS[asked["method"]](*asked["params"])}
        except (ValueError, TypeError) as fault:
            told = {"error": {"code": -32002, "message": str(fault)}}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    sys.stderr.close()
    server.serve_forever()
