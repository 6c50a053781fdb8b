"""One function a use case: the only room that touches the store and the sealing together."""
