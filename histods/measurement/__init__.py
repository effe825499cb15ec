"""What an audit measures of each file, and how measurements are kept."""
