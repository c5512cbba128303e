"""healthd: report over HTTP and as samples which processes run, what fails, and since when."""
