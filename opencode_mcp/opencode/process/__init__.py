"""The OpenCode process that this package starts: find or install it, supervise it, end it."""
