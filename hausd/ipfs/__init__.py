"""The IPFS world over HTTP: gateways to fetch from, pinning services and Kubo to pin into."""
