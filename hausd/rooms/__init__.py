"""One task per room: origin, archive, and what the rest of the node may know of it."""
