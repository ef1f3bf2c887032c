"""A network of simulated nodes that decide with ``hausd.policy``, on a virtual clock."""
