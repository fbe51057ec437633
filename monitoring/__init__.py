"""What Prometheus reads: the counts of this host's processes, and how the fleet stands."""
