"""Values of a market: instruments, books, orders, fills, positions. Standard library only, no I/O."""
