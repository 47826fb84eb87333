"""Static figures, for print."""
