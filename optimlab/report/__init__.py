"""The page: results/report.html, one file that works offline."""
