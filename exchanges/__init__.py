"""Exchange adapters: one folder per venue, the same file names in each, one `Exchange` protocol."""
