"""Pure decisions: snapshot, state and parameters in; wanted orders and new state out. No I/O, no clock."""
