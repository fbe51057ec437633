"""The long-lived process: market data and own fills from streams into Redis, wake-ups, and the ledger."""
