"""Media workers: FLV units in, CMAF parts out, one sandboxed process per stream."""
