"""Where streams come in: the RTMP and RTMPS server."""
