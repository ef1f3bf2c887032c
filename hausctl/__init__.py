"""hausctl: sees and steers a running node through its admin socket."""
