"""LiteSVM with the features of a cluster, as far as they matter here."""

from __future__ import annotations

from solders.litesvm import FeatureSet, LiteSVM
from solders.pubkey import Pubkey

_LAMPORTS = 10**18
"""What LiteSVM's own faucet begins with; it is never asked."""
_OFF = Pubkey.from_string("EmhbpdVtZ2hWRGFWBDjn2i3SJD8Z36z4mpMcZJEnebnP")
"""disable_new_loader_v3_deployments, on no cluster: programs could not be deployed for the first
time. Source: agave-feature-set."""


def machine() -> LiteSVM:
    """A machine without history that checks neither blockhashes nor signatures."""
    features = FeatureSet.all_enabled()
    active = {feature: slot for feature, slot in features.active.items() if feature != _OFF}
    chosen = FeatureSet(active, {*features.inactive, _OFF})
    made = LiteSVM.default().with_builtins(chosen).with_lamports(_LAMPORTS).with_sysvars()
    made = made.with_precompiles(chosen).with_spl_programs()
    return made.with_blockhash_check(False).with_sigverify(False).with_transaction_history(0)
