"""Keys of gated rooms: kept wrapped on disk, given to who has a ticket, asked of who holds them."""
