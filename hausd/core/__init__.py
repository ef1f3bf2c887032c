"""The nouns of hausd as frozen types: ids, CIDs, media, manifests. Nothing here does I/O."""
