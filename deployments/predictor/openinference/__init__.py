"""Open Inference Protocol v2 over HTTP, in JSON and with the binary tensor data extension."""
