"""A simulated exchange that speaks Backpack's REST protocol: a process of its own, talked to over sockets."""
