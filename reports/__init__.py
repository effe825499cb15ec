"""Tables in, pictures and pages out: charts of what an audit and its label maps found."""
