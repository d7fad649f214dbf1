"""Color: spaces, the stored form of a pixel, and the codebooks that turn color into a target."""
