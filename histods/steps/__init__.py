"""The verbs, one file each; a step meets another through files alone."""
