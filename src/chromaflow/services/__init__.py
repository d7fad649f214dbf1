"""Local servers, the state of a checkout, and what fixes a broken installation."""
