"""What a simulated user or a reference picture tells a network while it trains."""
