"""The last line of defence: cancels an instance's orders when nothing of ours shows life any more."""
