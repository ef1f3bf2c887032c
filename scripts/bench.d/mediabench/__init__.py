"""What ``scripts/bench media`` and ``scripts/bench soak`` are made of."""
