"""Local servers, the state of a checkout, and what mends a broken installation."""
