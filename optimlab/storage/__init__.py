"""Results on disk: files that are whole or not there, and the tables made from them."""
