"""What the node sends back: SEG, Structured Report and pictures."""
