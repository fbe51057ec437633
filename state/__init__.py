"""The truth about every instance, in Redis, changed only by the scripts in `lua/`."""
