"""The HTTP face: fast lane for media bytes, HLS, gateway, API."""
