"""Tells people what they have to know: rules, rates and quiet hours, and the sending through apprise."""
