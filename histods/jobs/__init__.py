"""Work over many files by an engine: what is handed out, what comes back, and how an interrupted run goes on."""
