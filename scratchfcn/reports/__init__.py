"""Pages that report: what a check of a data set found, and how well a network did. Each is one HTML file."""
