"""Counters and histograms of this process: what they are, and the files through which they leave it.

Anything above `market` and `strategies` may count here. Counting takes about a microsecond, opens nothing and
raises nothing. docs/decisions/0025 has the reasons for the files.
"""
