"""Files from HTTP servers and object stores, resumed after a kill."""
