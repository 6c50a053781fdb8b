"""One file a wire format; each turns its messages into readings."""
