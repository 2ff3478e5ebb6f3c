"""Pure rules: no I/O, no clock, no framework. Time and chance are arguments."""
